// What a call gave, in the simulated kernel or in the real one.
#pragma once

#include <string>

#include "tests/conformance/mailbox.h"
#include "tests/conformance/operation.h"

namespace ckpt::conformance {

struct Outcome {
  long result = 0;  // a value or -errno
  long pid = 0;     // of a wait: whom it told of, as the caller sees it; 0 none
  long status = 0;  // of a wait: as wait(2) gives it
  long fds[2] = {-1, -1};

  bool operator==(const Outcome&) const = default;
};

std::string to_string(const Outcome& outcome);

struct CallContext {
  unsigned actor = 0, child = 0;  // slots: who calls, and what the child gets if one is born
  std::string directory, program, mailbox;
  std::string namespace_path;  // for setns
};

// Writes the call into the actor's slot.
void encode(const Operation& op, const CallContext& context, Slot& slot);
// Reads what the actor left there.
Outcome decode(const Operation& op, const Slot& slot);
// The path with this number.
std::string path_text(long number, const std::string& directory);
// What chdir is given.
std::string chdir_path(long number, const std::string& directory);

}  // namespace ckpt::conformance
