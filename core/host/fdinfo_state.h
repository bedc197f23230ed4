// The parser of what /proc/PID/fdinfo shows of files without a name: text in, records out, no
// system call.
#pragma once

#include <string_view>

#include "format/process_image.h"

namespace ckpt::host {

// The inside of an eventfd, signalfd, timerfd or epoll file; kind 0 for any other, and for text
// that is not understood.
format::ImageFileState parse_file_state(std::string_view fdinfo);
// Of an eventfd: is it told whether it is a semaphore (Linux 6.5)?
bool tells_semaphore(std::string_view fdinfo);

}  // namespace ckpt::host
