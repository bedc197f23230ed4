#include "core/file.h"

#include "core/file_server.h"

namespace ckpt::core {

namespace {
// open(2)'s access mode.
bool reads(std::uint32_t flags) {
  return (flags & 3) != 1;
}
bool writes(std::uint32_t flags) {
  return (flags & 3) != 0;
}
}  // namespace

File::File() = default;

File::~File() {
  if (inode) inode->locks.drop(this);
  if (pipe && (out || reads(flags))) --pipe->readers;
  if (out) --out->writers;
  if (pipe && !out && writes(flags)) --pipe->writers;
}

void File::attach(Ref<Pipe> from, Ref<Pipe> to) {
  CKPT_ASSERT(!pipe && from);
  pipe = std::move(from);
  out = std::move(to);
  if (out || reads(flags)) ++pipe->readers;
  if (out) ++out->writers;
  if (!out && writes(flags)) ++pipe->writers;
}

std::string FsContext::cwd() const {
  if (!pwd || !is_placed(*pwd)) return {};
  return path_of(*pwd) + (pwd->removed ? " (deleted)" : "");
}

}  // namespace ckpt::core
