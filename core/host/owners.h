// Who gets the signals of a file: fcntl(2), F_SETOWN and F_SETSIG.
#pragma once

#include <map>
#include <optional>

#include "core/host/process_state.h"

namespace ckpt::host {

struct FileOwner {
  format::FileOwner record{};  // without references
  pid_t owner = 0;             // a thread, process or group; 0: nobody
  std::string why, hint;       // it cannot be held; empty: it can
};

class FileOwners {
 public:
  // Each open file is asked once, of the first process in tree order that has it.
  static FileOwners find(const TreeSnapshot& snapshot, const std::vector<ProcessState>& processes);
  // By that process and its descriptor. Null: as files are when they are opened.
  [[nodiscard]] const FileOwner* at(pid_t pid, int fd) const;

 private:
  std::map<std::pair<pid_t, int>, FileOwner> owners_;
};

}  // namespace ckpt::host
