// What is known of fds. An fd that no line has opened or closed is as it was at line 1; when the
// log shows it in use it becomes an opaque file, in every process that still has it from then.
#include <cerrno>

#include "core/sim/history_replay.h"

namespace ckpt::sim::history {

namespace {
constexpr std::int64_t kMaxFd = 1024 * 1024;  // no process has more
constexpr int kMaxAdopted = 1024;             // fds below an opened one that are taken to be open
}  // namespace

FdNotes* Replay::notes_of(Process& process, bool make) {
  const Nr nr = process.tgid->nr_at(0);
  if (nr == core::kNrUnknown) return nullptr;
  const auto it = notes_.find(nr);
  if (it != notes_.end()) return &it->second;
  return make ? &notes_[nr] : nullptr;
}

void Replay::fork_notes(Process& parent, Process& child) {
  const FdNotes* notes = notes_of(parent, false);
  const Nr nr = child.tgid->nr_at(0);
  if (nr == core::kNrUnknown || nr == parent.tgid->nr_at(0)) return;
  if (notes) {
    const FdNotes copy = *notes;
    notes_[nr] = copy;
  } else {
    notes_.erase(nr);
  }
}

void Replay::know(Task& task, std::int64_t fd) {
  if (fd < 0 || fd >= kMaxFd) return;
  FdNotes* notes = notes_of(*task.process, true);
  if (!notes) return;
  const auto n = static_cast<std::size_t>(fd);
  if (n >= notes->known.size()) notes->known.resize(n + 1);
  notes->known[n] = true;
}

bool Replay::is_known(Process& process, std::int64_t fd) {
  const FdNotes* notes = notes_of(process, false);
  return notes && fd >= 0 && static_cast<std::size_t>(fd) < notes->known.size() &&
         notes->known[static_cast<std::size_t>(fd)];
}

void Replay::adopt_fd(Process& process, int fd) {
  Ref<File>& file = first_files_[fd];
  if (!file) {
    file = new File;
    file->type = format::kFileOpaque;
    ++history_.opaque_files;
  }
  const FdNotes* notes = notes_of(process, false);
  const bool survives_exec = notes && notes->execs > 0;
  const auto install = [&](Process& p) {
    if (!p.files) p.files = m_.files().new_table();
    if (p.files->next_fd(fd) != fd) p.files->open(file, {.at = fd});
  };
  install(process);
  core::for_each_process(m_.world(), [&](Process& p) {
    if (&p == &process || &p == &m_.world() || p.zombie || p.exiting || is_known(p, fd)) return;
    const FdNotes* theirs = notes_of(p, false);
    if (survives_exec || !theirs || theirs->execs == 0) install(p);
  });
}

bool Replay::have_fd(Task& task, std::int64_t fd) {
  if (fd < 0 || fd >= kMaxFd) return false;
  Process& p = *task.process;
  const int n = static_cast<int>(fd);
  if (p.files && p.files->next_fd(n) == n) return true;
  if (!is_known(p, fd)) {
    adopt_fd(p, n);
    know(task, fd);
    return true;
  }
  if (!lenient_) return false;
  // Opened by a call that is not modelled, or that the log was filtered of.
  adopt_unseen(p, n);
  warn(log_.events[at_].line, "process " + std::to_string(p.tgid->nr_at(0)) + " uses fd " +
                                  std::to_string(n) + ", which no call of the log opens");
  return true;
}

void Replay::adopt_unseen(Process& process, int fd) {
  Ref<File> file = new File;
  file->type = format::kFileOpaque;
  ++history_.opaque_files;
  if (!process.files) process.files = m_.files().new_table();
  process.files->open(file, {.at = fd});
}

// Is a call in flight of another task with the same table about to give this fd?
bool Replay::is_coming(const Call& call, const Process& process, int fd) const {
  for (const std::uint32_t index : in_flight_) {
    const Call& other = log_.calls[index];
    if (&other == &call || other.applied || !other.returned || other.op < Op::open) continue;
    const Task* task = task_of(other.actor);
    if (!task || task->process->files != process.files) continue;
    if (other.result == fd || (other.op == Op::pipe && (other.a[1] == fd || other.a[2] == fd)))
      return true;
  }
  return false;
}

// The kernel gives the lowest number that is free, so those below are open and this one was not.
bool Replay::place_fd(const Call& call, Task& task, std::int64_t fd, int from,
                      std::int64_t* model) {
  Process& p = *task.process;
  *model = -EMFILE;
  if (fd < from || fd >= kMaxFd) return false;
  const int n = static_cast<int>(fd);
  if (!p.files) p.files = m_.files().new_table();
  core::FdTable& table = *p.files;
  if (const auto open = table.find(n)) {
    // One from before line 1 may have been closed by exec, or was never here; a filtered log may
    // not show the closing.
    const FdNotes* notes = notes_of(p, false);
    const auto first = first_files_.find(n);
    const bool doubtful = first != first_files_.end() && first->second == open->file &&
                          ((notes && notes->execs > 0) || !is_known(p, n));
    if (!doubtful && !(lenient_ && !log_.complete)) return *model = table.lowest_free(from), false;
    table.close(n);
  }
  for (int below = table.lowest_free(from); below < n; below = table.lowest_free(below + 1)) {
    if (n - from > kMaxAdopted) break;
    if (is_coming(call, p, below)) continue;  // pipe2 does not take its two at once
    if (is_known(p, below)) {
      // It may have been closed when this call had already passed it by.
      if (call.entry_line != call.line && changes_ > call.changes) continue;
      if (!lenient_) return *model = below, false;
      warn(call.line, "process " + std::to_string(log_.actors[call.actor].pid) + " gets fd " +
                          std::to_string(n) + " while " + std::to_string(below) +
                          " is free: taken to have been opened by a call that is not modelled");
      adopt_unseen(p, below);
    } else {
      adopt_fd(p, below);
      know(task, below);
    }
  }
  return true;
}

}  // namespace ckpt::sim::history
