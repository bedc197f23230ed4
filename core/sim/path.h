// Paths as text. No link is followed, for there is no file system here.
#pragma once

#include <string>
#include <string_view>

namespace ckpt::sim {

// `path` seen from `cwd`: absolute, and without "." and ".." and doubled slashes. As it is if it is
// relative and `cwd` is unknown (empty).
std::string absolute(std::string_view cwd, std::string_view path);

}  // namespace ckpt::sim
