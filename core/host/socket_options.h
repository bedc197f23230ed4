// Options of sockets, as an image has them.
#pragma once

#include <optional>
#include <vector>

#include "format/process_image.h"

namespace ckpt::host {

// One of kSocketOptions, as SocketOption::value has it; none if the kernel does not know it.
std::optional<std::int64_t> socket_option(int socket, std::uint32_t option);

struct SocketOptions {
  std::vector<format::SocketOption> held;  // that are not as in a new socket
  // The number of one that no image holds and that is not as in a new socket; 0: there is none.
  std::uint32_t foreign = 0;
};
SocketOptions socket_options(int socket, std::uint32_t type);

// False, and errno: it cannot be set. What is set already is not set again.
bool set_socket_option(int socket, const format::SocketOption& option);

}  // namespace ckpt::host
