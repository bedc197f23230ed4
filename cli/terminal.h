// The terminal of a restored job that is the user's own: who is in the foreground, and its
// settings.
//
// States of a Terminal: ours (the foreground group is that of ckpt), lent (it is the job's), theirs
// (ckpt was in the background when it asked: nothing is changed). It is ours again, with the
// settings that it had, when the object is destroyed.
#pragma once

#include <termios.h>

#include "format/image.h"
#include "restart/forest.h"

namespace ckpt::cli {

// Does the image hold a terminal whose session's leader it does not hold?
bool is_shell_job(const format::Image& image, const restart::Forest& forest);

class Terminal {
 public:
  // The controlling terminal of ckpt. Error: there is none.
  static Result<Terminal> open();
  Terminal(Terminal&& other) noexcept;
  Terminal& operator=(Terminal&&) = delete;
  ~Terminal();

  // `group`, as ckpt sees it, is in the foreground from now on, if ckpt was; with these settings.
  void lend(pid_t group, const termios* settings = nullptr);
  void take_back();
  // The job has stopped: so does ckpt, and whoever started it knows. When ckpt goes on, so does the
  // job, in the foreground if ckpt is.
  void stop_with(pid_t group);

 private:
  explicit Terminal(int fd) : fd_(fd) {}
  void make_foreground(pid_t group, const termios* settings) const;

  int fd_ = -1;
  bool lent_ = false;
  termios settings_{};
};

}  // namespace ckpt::cli
