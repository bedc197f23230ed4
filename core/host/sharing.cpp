// Which fds share an open file description, and which processes share a table or an fs. kcmp(2)
// orders the kernel's objects, so n candidates cost n log n comparisons; candidates are only those
// that look alike. The kernel's order may change while processes run: nothing here relies on it for
// more than the answer, and the reading is verified by a second one afterwards.
//
// Where kcmp is not allowed, it is guessed from what /proc shows:
// - pipe and socket ends of equal inode and flags share a description (right unless somebody
//   reopened a pipe through /proc/PID/fd);
// - anything else shares one with the same fd number of the parent, if both look alike and stand at
//   the same offset;
// - within one process, so do terminals that look alike, and files that stand at the same offset
//   above 0.
// Tables, fs and memory then count as unshared.
#include <linux/kcmp.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <tuple>

#include "core/host/in_parts.h"
#include "core/host/reading.h"

namespace ckpt::host {

namespace {

using Key = std::tuple<std::uint64_t, std::uint64_t, std::uint32_t, FdType, std::string_view>;

Key key_of(const OpenFile& f) {
  return {f.dev, f.ino, f.flags, f.type, f.link};
}

// Sets of equal kernel objects, found by binary search in the order that kcmp gives.
class Classes {
 public:
  Classes(const Kcmp& kcmp, int type) : kcmp_(kcmp), type_(type) {}

  // The group of the object, a new number if it is not equal to one seen; or -errno.
  int find(pid_t tid, unsigned long number, std::uint32_t& next_group, std::uint32_t& group) {
    std::size_t low = 0, high = known_.size();
    while (low < high) {
      const std::size_t mid = low + (high - low) / 2;
      const int order = kcmp_(tid, known_[mid].tid, type_, number, known_[mid].number);
      if (order < 0) return order;
      if (order == 0) {
        group = known_[mid].group;
        return 0;
      }
      if (order == 3) return -ENOSYS;  // no order to be had
      (order == 1 ? high : low) = order == 1 ? mid : mid + 1;
    }
    group = next_group++;
    known_.insert(known_.begin() + static_cast<std::ptrdiff_t>(low), {tid, number, group});
    return 0;
  }

 private:
  struct Known {
    pid_t tid;
    unsigned long number;
    std::uint32_t group;
  };
  const Kcmp& kcmp_;
  const int type_;
  std::vector<Known> known_;
};

class Sharing {
 public:
  Sharing(const Reading& reading, const Kcmp& kcmp, TreeSnapshot& out)
      : reading_(reading), kcmp_(kcmp), out_(out) {}

  Result<bool> run() {
    if (kcmp_) {
      CKPT_TRY(const bool told, ask());
      if (told) return true;
    }
    guess();
    return false;
  }

 private:
  // What kcmp's error means: 1 the tree changed, 0 it may not be asked.
  static bool vanished(int error) { return error == -ESRCH || error == -EBADF; }

  Result<bool> ask() {
    const auto [files, others] = side_by_side(
        out_.processes.size(), [&] { return ask_files(); }, [&] { return ask_others(); });
    for (const Result<bool>& told : {files, others})
      if (told.has_error() || !*told) return told;
    return true;
  }

  Result<bool> ask_others() {
    CKPT_TRY(const bool fs, ask_directories());
    if (!fs) return false;
    CKPT_TRY(const bool memory, ask_memory());
    if (!memory) return false;
    return ask_threads();
  }

  // Tables can only be one if they hold the same fds.
  Result<bool> ask_tables() {
    return ask_for_each(KCMP_FILES, &ProcessSnapshot::files_group, [](const ProcessSnapshot& p) {
      std::vector<int> numbers;
      for (const auto& fd : p.fds) numbers.push_back(fd.fd);
      return numbers;
    });
  }
  // An fs if its directories are the same.
  Result<bool> ask_directories() {
    return ask_for_each(KCMP_FS, &ProcessSnapshot::fs_group, [](const ProcessSnapshot& p) {
      return std::tuple<std::string_view, std::string_view, std::uint32_t>(p.cwd, p.root,
                                                                           p.umask.value_or(0));
    });
  }
  // Memory if the executable is.
  Result<bool> ask_memory() {
    return ask_for_each(KCMP_VM, &ProcessSnapshot::mm_group,
                        [](const ProcessSnapshot& p) { return std::string_view(p.exe); });
  }

  // Compares those processes of which `look` gives the same.
  template <class Look>
  Result<bool> ask_for_each(int type, std::uint32_t ProcessSnapshot::*group, const Look& look) {
    std::map<std::invoke_result_t<Look, const ProcessSnapshot&>, Classes> candidates;
    std::uint32_t next = 0;
    for (auto& p : out_.processes) {
      const pid_t tid = window(p);
      if (tid == 0) {
        p.*group = next++;
        continue;
      }
      const int error =
          candidates.try_emplace(look(p), kcmp_, type).first->second.find(tid, 0, next, p.*group);
      if (vanished(error)) return changed(name_of(p) + " ended");
      if (error < 0) return false;
    }
    return true;
  }

  Result<bool> ask_threads() {
    for (auto& p : out_.processes) {
      const pid_t tid = window(p);
      for (auto& t : p.threads) {
        if (tid == 0 || t.tid == tid || t.state == 'Z' || t.state == 'X') continue;
        const int files = kcmp_(t.tid, tid, KCMP_FILES, 0, 0);
        const int fs = kcmp_(t.tid, tid, KCMP_FS, 0, 0);
        if (vanished(files) || vanished(fs)) return changed("a thread of " + name_of(p) + " ended");
        if (files < 0 || fs < 0) return false;
        t.own_files = files != 0;
        t.own_fs = fs != 0;
      }
    }
    return true;
  }

  Result<bool> ask_files() {
    CKPT_TRY(const bool told, ask_tables());
    if (!told) return false;
    std::map<Key, Classes> candidates;
    std::unordered_map<std::uint32_t, std::size_t> first_of_table;
    std::uint32_t next = 0;
    for (std::size_t i = 0; i < out_.processes.size(); ++i) {
      auto& p = out_.processes[i];
      const auto [table, fresh] = first_of_table.try_emplace(p.files_group, i);
      if (!fresh && same_numbers(p.fds, out_.processes[table->second].fds)) {
        p.fds = out_.processes[table->second].fds;
        continue;
      }
      for (std::size_t k = 0; k < p.fds.size(); ++k) {
        const OpenFile& file = reading_.open_files[i][k];
        const int error =
            candidates.try_emplace(key_of(file), kcmp_, KCMP_FILE)
                .first->second.find(window(p), static_cast<unsigned long>(p.fds[k].fd), next,
                                    p.fds[k].file);
        if (vanished(error)) return changed("files of " + name_of(p));
        if (error < 0) {
          out_.files.clear();
          return false;
        }
        if (p.fds[k].file == out_.files.size()) out_.files.push_back(file);
      }
    }
    return true;
  }

  static bool same_numbers(const std::vector<FdEntry>& a, const std::vector<FdEntry>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                      [](const FdEntry& x, const FdEntry& y) { return x.fd == y.fd; });
  }

  // See the head of this file.
  void guess() {
    out_.files.clear();
    std::unordered_map<pid_t, std::size_t> index;
    std::map<Key, std::uint32_t> ends;
    for (std::size_t i = 0; i < out_.processes.size(); ++i) {
      auto& p = out_.processes[i];
      p.files_group = p.fs_group = p.mm_group = static_cast<std::uint32_t>(i);
      index[p.pid] = i;
      const auto parent = index.find(p.ppid);
      for (std::size_t k = 0; k < p.fds.size(); ++k) {
        const OpenFile& file = reading_.open_files[i][k];
        std::optional<std::uint32_t> twin;
        if (file.type == FdType::pipe || file.type == FdType::socket) {
          if (const auto it = ends.find(key_of(file)); it != ends.end()) twin = it->second;
        } else {
          if (parent != index.end()) twin = of_parent(parent->second, p.fds[k].fd, file);
          if (!twin && (file.type == FdType::tty || file.offset > 0)) twin = of_earlier(i, k, file);
        }
        if (!twin) {
          twin = static_cast<std::uint32_t>(out_.files.size());
          out_.files.push_back(file);
          ends.emplace(key_of(file), *twin);
        }
        p.fds[k].file = *twin;
      }
    }
  }

  bool alike(std::uint32_t known, const OpenFile& file) const {
    const OpenFile& other = out_.files[known];
    return key_of(other) == key_of(file) && other.offset == file.offset &&
           other.mnt_id == file.mnt_id;
  }

  std::optional<std::uint32_t> of_parent(std::size_t parent, int fd, const OpenFile& file) const {
    for (const auto& entry : out_.processes[parent].fds)
      if (entry.fd == fd && alike(entry.file, file)) return entry.file;
    return {};
  }

  std::optional<std::uint32_t> of_earlier(std::size_t i, std::size_t k,
                                          const OpenFile& file) const {
    const auto& fds = out_.processes[i].fds;
    for (std::size_t j = 0; j < k; ++j)
      if (alike(fds[j].file, file)) return fds[j].file;
    return {};
  }

  const Reading& reading_;
  const Kcmp& kcmp_;
  TreeSnapshot& out_;
};

}  // namespace

Result<bool> find_sharing(const Reading& reading, const Kcmp& kcmp, TreeSnapshot& out) {
  return Sharing(reading, kcmp, out).run();
}

}  // namespace ckpt::host
