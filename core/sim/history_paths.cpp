// The calls that change names. Others change names, too, whom the log does not show: what it says
// has happened has happened, whatever the model knows.
#include <cerrno>

#include "core/sim/history_replay.h"

namespace ckpt::sim::history {

Kernel::At Replay::path_of_call(Task& task, std::size_t text, std::int64_t dirfd) {
  std::string_view path = log_.texts[text];
  const std::size_t nul = path.find('\0');
  const std::string_view said = nul == std::string_view::npos ? "" : path.substr(0, nul);
  if (!said.empty()) path.remove_prefix(nul + 1);
  if (path.starts_with('/')) return {path};
  if (dirfd == kCwd) {
    const Process& p = *task.process;
    if (!said.empty() && (!p.fs || p.fs->cwd().empty())) kernel_.set_cwd(task, said);
    return {path};
  }
  if (!have_fd(task, dirfd)) return {path, -1};
  const Ref<File> file = file_of(task, dirfd);
  if (!said.empty() && !file->dentry && file->type == format::kFileOpaque) {
    file->dentry = m_.file_system().enter(said, nullptr, false);
    file->inode = file->dentry->inode;
  }
  return {path, static_cast<int>(dirfd)};
}

bool Replay::insist(const Call& call, Task& task, std::initializer_list<Kernel::At> paths,
                    const std::function<long()>& make, std::int64_t* model) {
  const std::uint64_t tried = trace_ ? trace_->now() : 0;
  *model = make();
  for (const Kernel::At& at : paths) {
    if (*model == call.result) return true;
    if (!lenient_ || *model == -EBADF) return false;
    kernel_.forget(task, at);
    if (trace_)
      for (core::TraceRecord& record : trace_->take_back(tried))
        trace_->add(record.who, record.kind, std::move(record.text));
    *model = make();
    warn(call.line, std::string(call.name) + " of process " +
                        std::to_string(log_.actors[call.actor].pid) + " finds \"" +
                        std::string(at.path) + "\" as no call of the log has left it");
  }
  return *model == call.result;
}

bool Replay::do_name_call(Call& call, Task& task, std::int64_t* model) {
  const Kernel::At at = path_of_call(task, call.text, call.a[0]);
  const auto flags = static_cast<unsigned>(call.a[2]);
  if (call.op == Op::link || call.op == Op::rename) {
    const Kernel::At to = path_of_call(task, static_cast<std::size_t>(call.a[3]), call.a[1]);
    const bool links = call.op == Op::link;
    return insist(
        call, task, {to, at},
        [&] {
          return links ? kernel_.link(task, at, to, flags) : kernel_.rename(task, at, to, flags);
        },
        model);
  }
  const auto make = [&]() -> long {
    switch (call.op) {
      case Op::unlink:
        return kernel_.unlink(task, at, flags);
      case Op::mkdir:
        return kernel_.mkdir(task, at);
      case Op::symlink:
        return kernel_.symlink(task, log_.texts[static_cast<std::size_t>(call.a[3])], at);
      default:
        return kernel_.mknod(task, at, static_cast<std::uint32_t>(call.a[1]));
    }
  };
  return insist(call, task, {at}, make, model);
}

}  // namespace ckpt::sim::history
