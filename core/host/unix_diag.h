// What the kernel tells of the sockets of AF_UNIX: sock_diag(7), in our own network namespace.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <span>

#include "format/error.h"

namespace ckpt::host {

struct UnixDiag {
  std::uint32_t type = 0;             // socket(2)'s
  std::uint32_t state = 0;            // TCP_ESTABLISHED, TCP_CLOSE, TCP_LISTEN
  std::optional<std::uint32_t> peer;  // inode; 0: it was closed, or was not accepted yet
  std::uint32_t shutdown = 0;         // bits: 1 receives, 2 sends nothing more
  std::uint32_t waits = 0;            // bytes that wait in it; of datagrams the first one's
  std::uint32_t sent = 0;             // memory that what it sent takes, until it is received
  bool named = false;
};

// By inode number.
using UnixDiags = std::map<std::uint64_t, UnixDiag>;

Result<UnixDiags> read_unix_diag();

// One answer of the kernel's: netlink(7) messages, as recv(2) gives them. True: the last message of
// all was among them. Error: the text is not understood, or is the kernel's own error.
Result<bool> parse_unix_diag(std::span<const std::byte> answer, UnixDiags& out);

}  // namespace ckpt::host
