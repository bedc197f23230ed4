// Sockets of AF_UNIX without a name, as socketpair(2) makes them: how they are connected, what
// waits in them, their options. Nothing is taken out of them, and nothing of them changes (peek.h).
#pragma once

#include <map>
#include <set>

#include "core/host/process_state.h"

namespace ckpt::host {

struct UnixSocket {
  format::ImageSocket image;  // without references
  std::string bytes;          // of all that waits in it
  std::uint64_t peer = 0;     // inode of the other end; 0: none
  std::string why, hint;      // it cannot be held; empty: it can
};

class UnixSockets {
 public:
  static UnixSockets find(const TreeSnapshot& snapshot, const std::vector<ProcessState>& processes);
  // Null for a socket of another family or network namespace.
  [[nodiscard]] const UnixSocket* at(std::uint64_t ino) const;
  [[nodiscard]] bool empty() const { return sockets_.empty(); }
  // Why there is nothing to be said of any; empty otherwise.
  [[nodiscard]] const std::string& unknown() const { return unknown_; }

 private:
  std::map<std::uint64_t, UnixSocket> sockets_;  // by inode
  std::string unknown_;
};

}  // namespace ckpt::host
