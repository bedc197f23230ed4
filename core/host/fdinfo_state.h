// The parsers of what /proc/PID/fdinfo shows of locks and of files without a name: text in, records
// out, no system call.
#pragma once

#include <string_view>
#include <vector>

#include "format/process_image.h"

namespace ckpt::host {

// Appends the locks that are shown; false if one is of a kind that an image cannot hold, or not
// understood.
bool parse_locks(std::string_view fdinfo, int fd, std::vector<format::FileLock>& out);

// The inside of an eventfd, signalfd, timerfd or epoll file; kind 0 for any other, and for text
// that is not understood.
format::ImageFileState parse_file_state(std::string_view fdinfo);

}  // namespace ckpt::host
