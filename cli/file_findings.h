// What has become of the files of an image of live processes, for `restore --plan` and
// `inspect --fds`.
#pragma once

#include "core/host/file_check.h"

namespace ckpt::cli {

struct ChangedFile {
  std::uint32_t file = 0;  // index in Image::files
  std::vector<host::FileFinding> findings;

  [[nodiscard]] bool fatal() const;
};

// Every file that differs from what is there now, in the image's order. None for a history's image:
// its paths are those of another machine, or made up.
std::vector<ChangedFile> changed_files(const format::Image& image);

}  // namespace ckpt::cli
