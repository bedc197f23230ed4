#include "core/host/owners.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "core/host/borrow.h"

namespace ckpt::host {

namespace {

constexpr int kGetOwnerUids = 17;  // F_GETOWNER_UIDS

class OwnerAsker {
 public:
  OwnerAsker(const TreeSnapshot& snapshot, const ProcessState& holder)
      : snapshot_(snapshot), holder_(holder) {}

  std::optional<FileOwner> ask(int file) const {
    f_owner_ex owner{};
    const int signal = ::fcntl(file, F_GETSIG);
    if (signal < 0 || ::fcntl(file, F_GETOWN_EX, &owner) != 0) return {};  // O_PATH has none
    if (signal == 0 && owner.pid == 0) return {};
    FileOwner out;
    out.owner = owner.pid;
    out.record.type = static_cast<std::uint32_t>(owner.type);
    out.record.signal = static_cast<std::uint32_t>(signal);
    if (owner.pid != 0) judge(file, out);
    return out;
  }

 private:
  // A restore has the holder say it, with the holder's credentials.
  void judge(int file, FileOwner& out) const {
    const std::size_t depth = depth_of(out);
    const std::string number = std::to_string(out.owner);
    const bool group = out.record.type == F_OWNER_PGRP;
    if (depth == 0)
      out.why = std::string("its signals go to ") + (group ? "group " : "process ") + number +
                " outside of the tree";
    else if (depth < holder_.snapshot->ns_pids.size())
      out.why = "its signals go to " + number + ", which has no number in its own pid namespace";
    std::uint32_t ids[2];
    const format::Cred& cred = holder_.threads.front().cred.cred;
    if (out.why.empty() && ::fcntl(file, kGetOwnerUids, ids) == 0 &&
        (ids[0] != cred.uid || ids[1] != cred.euid))
      out.why = "its signals were asked for by user " + std::to_string(ids[1]) +
                ", which the process is not any more";
    if (!out.why.empty()) out.hint = "fcntl F_SETOWN 0 takes it back";
  }

  // At how many levels of pid namespaces the owner has a number; 0: it is not in the tree, or is a
  // thread that does not exist yet when the holder is restored.
  [[nodiscard]] std::size_t depth_of(const FileOwner& o) const {
    const auto is_foreign = [&](const ForeignId& f) { return f.id == o.owner; };
    for (const ProcessSnapshot& p : snapshot_.processes) {
      if (o.record.type == F_OWNER_PGRP) {
        if (p.pgid == o.owner &&
            std::none_of(snapshot_.foreign.begin(), snapshot_.foreign.end(), is_foreign))
          return std::max<std::size_t>(p.ns_pgids.size(), 1);
        continue;
      }
      if (p.pid == o.owner) return std::max<std::size_t>(p.ns_pids.size(), 1);
      if (o.record.type != F_OWNER_TID || p.pid != holder_.snapshot->pid) continue;
      for (const ThreadSnapshot& t : p.threads)
        if (t.tid == o.owner) return std::max<std::size_t>(t.ns_tids.size(), 1);
    }
    return 0;
  }

  const TreeSnapshot& snapshot_;
  const ProcessState& holder_;
};

}  // namespace

FileOwners FileOwners::find(const TreeSnapshot& snapshot,
                            const std::vector<ProcessState>& processes) {
  FileOwners out;
  std::set<std::uint32_t> asked;
  for (const ProcessState& s : processes) {
    std::optional<Borrower> process;
    for (const FdEntry& fd : s.snapshot->fds) {
      if (!asked.insert(fd.file).second) continue;
      if (!process) process.emplace(s);
      const Descriptor file = process->borrow(fd.fd);
      if (file.get() < 0) {
        out.owners_[{s.snapshot->pid, fd.fd}].why =
            "whom it signals cannot be learned: " + process->why();
        continue;
      }
      if (auto owner = OwnerAsker(snapshot, s).ask(file.get()))
        out.owners_[{s.snapshot->pid, fd.fd}] = std::move(*owner);
    }
  }
  return out;
}

const FileOwner* FileOwners::at(pid_t pid, int fd) const {
  const auto found = owners_.find({pid, fd});
  return found == owners_.end() ? nullptr : &found->second;
}

}  // namespace ckpt::host
