// inspect --fds: what /proc/PID/fd and fdinfo would show, and who shares what.
//
// Sharing is found by two maps made once: file -> its descriptors in all tables, table -> its
// processes. Of a file that many share only a few are named. Files of live processes are compared
// with what is there now.
#include <fcntl.h>

#include <algorithm>
#include <map>
#include <unordered_map>

#include "cli/file_findings.h"
#include "cli/image_json.h"
#include "cli/views.h"
#include "format/describe.h"

namespace ckpt::cli {

namespace {

constexpr std::size_t kNamed = 3;        // sharers that are named
constexpr std::size_t kFileColumn = 44;  // where the column FILE begins

struct Holder {
  std::uint32_t table;
  std::int32_t fd;
};

class FdsPrinter {
 public:
  FdsPrinter(Out& out, const Style& style, const ImageFacts& facts)
      : out_(out), style_(style), facts_(facts), image_(facts.image) {
    index();
  }
  void print(const ProcessFacts* only) {
    bool first = true;
    facts_.for_each(only, [&](const ProcessFacts& p) {
      if (!first) out_ << "\n";
      first = false;
      process(p);
    });
  }

 private:
  void index();
  void process(const ProcessFacts& p);
  void row(std::uint32_t table, const format::FileDesc& fd);
  void columns(const std::string& fd, const std::string& mode, const std::string& state,
               const std::string& offset, const std::string& type, const std::string& file);
  [[nodiscard]] std::string others(std::uint32_t table, const format::FileDesc& fd,
                                   const std::vector<Holder>& holders, bool own_file) const;
  void now(std::uint32_t file);
  [[nodiscard]] std::string sharing(std::uint32_t table, const format::FileDesc& fd) const;
  [[nodiscard]] std::string ends(std::uint32_t table, const format::FileDesc& fd) const;
  [[nodiscard]] std::string contents(std::uint32_t table, const format::FileDesc& fd,
                                     const format::File& file) const;

  Out& out_;
  const Style& style_;
  const ImageFacts& facts_;
  const format::Image& image_;
  std::unordered_map<std::int32_t, std::uint32_t> file_at_, table_at_, fs_at_;
  std::vector<std::vector<Holder>> holders_;                  // by file
  std::vector<std::vector<std::uint32_t>> owners_;            // by table: processes, in tree order
  std::map<std::int32_t, std::vector<std::uint32_t>> pipes_;  // pipe -> files
  std::vector<ChangedFile> changed_;                          // ascending by file
  std::map<std::int32_t, const format::ImageInode*> inode_of_;
};

std::int32_t first_objref(const format::Image& image, const ProcessFacts& p,
                          format::s32le format::TaskObjs::*member) {
  for (std::uint32_t i = 0; i < p.threads; ++i)
    if (const std::int32_t ref = image.objs[p.first + i].*member) return ref;
  return 0;
}

void FdsPrinter::index() {
  holders_.resize(image_.files.size());
  owners_.resize(image_.file_tables.size());
  for (std::uint32_t i = 0; i < image_.files.size(); ++i) {
    file_at_[image_.files[i].ref] = i;
    const std::int32_t pipe = image_.files[i].file.pipe_objref;
    if (pipe != 0) pipes_[pipe].push_back(i);
  }
  for (std::uint32_t t = 0; t < image_.file_tables.size(); ++t) {
    table_at_[image_.file_tables[t].ref] = t;
    for (const format::FileDesc& fd : image_.file_tables[t].fds)
      if (const auto f = file_at_.find(fd.fd_objref); f != file_at_.end())
        holders_[f->second].push_back({t, fd.fd_descriptor});
  }
  changed_ = changed_files(image_);
  for (const format::ImageInode& inode : image_.process.inodes)
    for (const std::int32_t file : inode.files) inode_of_[file] = &inode;
  for (std::uint32_t i = 0; i < image_.fs.size(); ++i) fs_at_[image_.fs[i].ref] = i;
  for (std::uint32_t i = 0; i < facts_.processes.size(); ++i) {
    const std::int32_t ref =
        first_objref(image_, facts_.processes[i], &format::TaskObjs::files_objref);
    if (const auto t = table_at_.find(ref); t != table_at_.end()) owners_[t->second].push_back(i);
  }
}

void FdsPrinter::columns(const std::string& fd, const std::string& mode, const std::string& state,
                         const std::string& offset, const std::string& type,
                         const std::string& file) {
  out_ << "  " << pad_left(fd, 4) << "  " << pad_right(mode, 4) << "  " << pad_right(state, 7)
       << "  " << pad_left(offset, 8) << "  " << pad_right(type, 9) << "  " << file << "\n";
}

void FdsPrinter::process(const ProcessFacts& p) {
  out_ << style_.bold(facts_.name(p));
  const ProcessState state = facts_.state(p);
  if (state != ProcessState::running) out_ << ", " << state_name(state);
  const auto fs = fs_at_.find(first_objref(image_, p, &format::TaskObjs::fs_objref));
  if (fs != fs_at_.end()) {
    const format::ImageFs& f = image_.fs[fs->second];
    if (!f.cwd.empty()) out_ << ", in " << printable(f.cwd);
    if (!f.root.empty() && f.root != "/") out_ << ", root " << printable(f.root);
    if (f.fs.umask_known != 0) {
      char text[8];
      std::snprintf(text, sizeof text, "%03o", f.fs.umask.value() & 0777U);
      out_ << ", umask " << text;
    }
  }
  out_ << "\n";
  const auto t = table_at_.find(first_objref(image_, p, &format::TaskObjs::files_objref));
  if (t == table_at_.end()) {
    out_ << style_.dim(state == ProcessState::zombie ? "  no files: it has exited"
                                                     : "  nothing is known of its files")
         << "\n";
    return;
  }
  const ProcessFacts& owner = facts_.processes[owners_[t->second].front()];
  if (&owner != &p) {
    out_ << "  the table of " << facts_.name(owner) << ", shared\n";
    return;
  }
  if (image_.file_tables[t->second].fds.empty()) {
    out_ << style_.dim("  none open") << "\n";
    return;
  }
  columns("FD", "MODE", "STATE", "OFFSET", "TYPE", "FILE");
  for (const format::FileDesc& fd : image_.file_tables[t->second].fds) row(t->second, fd);
}

void FdsPrinter::row(std::uint32_t table, const format::FileDesc& fd) {
  const auto at = file_at_.find(fd.fd_objref);
  if (at == file_at_.end()) return;
  const format::ImageFile& f = image_.files[at->second];
  constexpr const char* kModes[] = {"r", "w", "rw", "-"};
  std::string path = printable(f.path.empty() ? "not known" : f.path);
  if (const auto inode = inode_of_.find(f.ref); inode != inode_of_.end())
    path += " (deleted, " + human_size(inode->second->inode.size) + " in the image)";
  else if (f.file.deleted != 0)
    path += style_.red(" (deleted)");
  std::string extra;
  const auto names = open_flags(f.file.f_flags);
  for (std::size_t i = 1; i < names.size(); ++i)
    if (names[i] != "O_LARGEFILE") extra += " " + names[i];
  if (fd.fd_close_on_exec != 0) extra += " close-on-exec";
  extra += contents(table, fd, f.file);
  const std::string shared = sharing(table, fd);
  const std::string type = file_type_name(f.file);
  const bool seekable = type == "regular" || type == "directory";
  columns(std::to_string(fd.fd_descriptor), unknown_file(f) ? "?" : kModes[f.file.f_flags & 3],
          fd.fd_pending != 0 ? style_.yellow("pending") : "live",
          seekable || f.file.f_pos != 0 ? std::to_string(f.file.f_pos) : "-", type,
          path + style_.cyan(extra) + (shared.empty() ? "" : "  " + style_.dim(shared)));
  now(at->second);
}

// Below a file what has become of it.
void FdsPrinter::now(std::uint32_t file) {
  const auto at =
      std::lower_bound(changed_.begin(), changed_.end(), file,
                       [](const ChangedFile& c, std::uint32_t f) { return c.file < f; });
  if (at == changed_.end() || at->file != file) return;
  for (const host::FileFinding& f : at->findings)
    out_ << std::string(kFileColumn, ' ')
         << (f.fatal ? style_.red(f.message()) : style_.yellow(f.message())) << "\n";
}

std::string socket_text(const format::ImageSocket& socket) {
  const format::Socket& s = socket.socket;
  std::string text = std::string("  ") + socket_type_name(socket);
  if (s.shutdown != 0) {
    const bool receives = (s.shutdown & format::kShutReceive) == 0;
    const bool sends = (s.shutdown & format::kShutSend) == 0;
    text += receives ? ", sends no more" : sends ? ", receives no more" : ", shut down";
  }
  if (s.error != 0) text += ", its connection was reset";
  if (!socket.messages.empty()) text += "  " + count_of(socket.messages.size(), "message");
  return text;
}

// What is in flight behind a reading end, and the locks that fdinfo would show for this fd: those
// of the open file and those of this table.
std::string FdsPrinter::contents(std::uint32_t table, const format::FileDesc& fd,
                                 const format::File& file) const {
  std::string text;
  const auto flight = facts_.in_flight.find(file.pipe_objref);
  if (flight != facts_.in_flight.end() && (file.f_flags & 3) != 1)
    text += flight->second.uncertain ? "  not known what is in flight"
                                     : "  " + count_of(flight->second.bytes, "byte") + " in flight";
  if (const auto socket = facts_.sockets.find(fd.fd_objref); socket != facts_.sockets.end())
    text = socket_text(*socket->second) + text;
  const auto locks = facts_.locks.find(fd.fd_objref);
  if (locks == facts_.locks.end()) return text;
  for (const format::FileLock* lock : locks->second)
    if (lock->table_objref == 0 || lock->table_objref == image_.file_tables[table].ref)
      text += "  lock: " + format::lock_text(*lock);
  return text;
}

// "9846:1, 9848:1, +5": process and descriptor of all `holders` but this one itself, which is among
// them if they are the holders of its own file. Other ends of a pipe go by name.
std::string FdsPrinter::others(std::uint32_t table, const format::FileDesc& fd,
                               const std::vector<Holder>& holders, bool own_file) const {
  std::string s;
  std::size_t named = 0;
  for (const Holder& h : holders) {
    if (h.table == table && h.fd == fd.fd_descriptor) continue;
    if (named == kNamed) break;
    ++named;
    if (!s.empty()) s += ", ";
    if (!owners_[h.table].empty()) {
      const ProcessFacts& p = facts_.processes[owners_[h.table].front()];
      s += own_file ? facts_.pid(p) : facts_.name(p);
    }
    s += ":" + std::to_string(h.fd);
  }
  if (const std::size_t left = holders.size() - (own_file ? 1 : 0) - named; left > 0)
    s += ", +" + std::to_string(left);
  return s;
}

std::string FdsPrinter::sharing(std::uint32_t table, const format::FileDesc& fd) const {
  const std::uint32_t at = file_at_.at(fd.fd_objref);
  std::string s = others(table, fd, holders_[at], true);
  if (!s.empty()) s = "(also " + s + ")";
  const std::string other = ends(table, fd);
  return other + (s.empty() || other.empty() ? s : "  " + s);
}

// Who holds the other ends of a pipe, or the other end of a socket pair.
std::string FdsPrinter::ends(std::uint32_t table, const format::FileDesc& fd) const {
  const std::uint32_t at = file_at_.at(fd.fd_objref);
  const format::File& file = image_.files[at].file;
  if (file.pipe_objref == 0) return {};
  const bool socket = file.f_type == format::kFileSocket;
  const std::uint32_t access = file.f_flags & 3;
  std::int32_t pipe = file.pipe_objref;
  if (socket) {
    const auto inside = facts_.sockets.find(fd.fd_objref);
    if (inside != facts_.sockets.end() && inside->second->socket.peer == format::kPeerGone)
      return "other end closed";
    if (inside != facts_.sockets.end() && inside->second->socket.peer == format::kPeerNone)
      return "not connected";
    const auto peer = facts_.peers.find(pipe);
    pipe = peer == facts_.peers.end() ? 0 : peer->second;
  }
  std::string names;
  const auto files = pipes_.find(pipe);
  if (files != pipes_.end())
    for (const std::uint32_t other : files->second) {
      const std::uint32_t theirs = image_.files[other].file.f_flags & 3;
      if (other == at || (!socket && access != 2 && (theirs == access || theirs == 3))) continue;
      names += (names.empty() ? "" : ", ") + others(table, fd, holders_[other], false);
    }
  if (names.empty() && !socket && access == 2) return {};  // it is both ends itself
  return (socket || access == 2 ? "with "
          : access == 1         ? "to "
                                : "from ") +
         (names.empty() ? "outside" : names);
}

}  // namespace

void print_fds(Out& out, const Style& style, const ImageFacts& facts, const ProcessFacts* only) {
  FdsPrinter(out, style, facts).print(only);
}

}  // namespace ckpt::cli
