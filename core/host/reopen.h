// Reopens the regular files and directories of an image for real, each at its first touch: file
// servers for a machine whose fds are pending. K42-R11.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/file_server.h"
#include "core/host/file_check.h"

namespace ckpt::host {

// States of a file: untouched (its server has made no client yet), open (and stays so as long as
// its server lives, at the recorded offset), failed (every touch gets the error and tries again).
// A file is opened once, for all descriptors that share it; files are never created or truncated,
// and a last symbolic link is not followed.
class Reopener {
 public:
  struct State {
    bool open = false;
    int error = 0;       // errno, where it failed
    std::string reason;  // for a person, where it failed
  };

  // Can it be a regular file or a directory that has a name?
  static bool serves(const format::ImageFile& file);
  // The server that opens `file` here when it is first touched; null for what is not served. The
  // touch fails with ESTALE where compare_file() finds something fatal, or with open(2)'s errno.
  // For the images of histories, too, of which only names and offsets are known. `file` must
  // outlive the server.
  core::Ref<core::FileServer> server_for(core::FileDomain& domain, const format::ImageFile& file);

  // By FILE's objref; those of which somebody asked server_for().
  [[nodiscard]] const std::map<std::int32_t, State>& states() const { return states_; }

 private:
  std::map<std::int32_t, State> states_;
};

}  // namespace ckpt::host
