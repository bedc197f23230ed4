// chdir(2), umask(2), and paths.
#include <algorithm>

#include "core/sim/kernel.h"
#include "core/sim/path.h"

namespace ckpt::sim {

std::string absolute(std::string_view cwd, std::string_view path) {
  if (path.starts_with('/')) cwd = {};
  if (path.empty() || (!path.starts_with('/') && cwd.empty())) return std::string(path);
  std::string out(cwd == "/" ? "" : cwd);
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part.empty() || part == ".") continue;
    if (part == "..")
      out.resize(out.empty() ? 0 : out.rfind('/'));
    else
      (out += '/') += part;
  }
  return out.empty() ? "/" : out;
}

core::FsContext& Kernel::fs(Task& caller) {
  Process& p = *caller.process;
  if (!p.fs) p.fs = new core::FsContext;
  return *p.fs;
}

long Kernel::chdir(Task& caller, std::string_view path) {
  std::string& cwd = fs(caller).cwd;
  std::string now = absolute(cwd, path);
  cwd = now.starts_with('/') ? std::move(now) : std::string();
  return 0;
}

long Kernel::umask(Task& caller, std::uint32_t mask) {
  core::FsContext& context = fs(caller);
  const long before = context.umask_known ? static_cast<long>(context.umask) : kUnknownResult;
  context.umask = mask & 0777;
  context.umask_known = true;
  return before;
}

}  // namespace ckpt::sim
