// What waits in a socket of AF_UNIX, read without taking anything.
//
// recv(2) with MSG_PEEK shows all of a stream, but of messages only the first. Those behind it are
// seen from an offset (SO_PEEK_OFF, socket(7)). That is a state of the socket, and not of who
// looks: a ckpt that dies before it is back as it was would have changed its target. So the new
// offset, the looks and the old offset are one system call, io_uring_enter(2): it carries out its
// entries one after the other, and a signal that kills takes effect when it returns.
//
// What it leaves in the target: an empty message that was looked at is not seen from an offset any
// more, by nobody. It is received as before.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "format/error.h"

namespace ckpt::host {

struct Waiting {
  std::string bytes;                    // of all messages
  std::vector<std::uint32_t> messages;  // bytes of each; none of a stream
  bool control = false;                 // descriptors or credentials come with it
  bool all = true;                      // false: it is not known whether there are more messages
};

class Peeker {
 public:
  Peeker();
  ~Peeker();
  // Of a frozen process's socket, which has no error pending: to look would take that. `offset` is
  // its SO_PEEK_OFF, `waits` the bytes in a stream, `ends` whether nothing comes in after what
  // waits.
  Result<Waiting> look_at_stream(int socket, int offset, std::size_t waits);
  Result<Waiting> look_at_messages(int socket, int offset, bool ends);

 private:
  class Ring;
  Result<Waiting> look_from_start(int socket, int offset, bool stream, bool ends);
  std::unique_ptr<Ring> ring_;
};

}  // namespace ckpt::host
