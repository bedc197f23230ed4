#include "cli/terminal.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

#include "core/host/signal_set.h"

namespace ckpt::cli {

bool is_shell_job(const format::Image& image, const restart::Forest& forest) {
  return forest.sid[0] < 0 &&
         std::any_of(image.files.begin(), image.files.end(),
                     [](const format::ImageFile& f) { return f.file.f_type == format::kFileTty; });
}

Result<Terminal> Terminal::open() {
  const int fd = ::open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (fd < 0)
    return cannot("cannot restore the job", std::string("no terminal: ") + std::strerror(errno),
                  "--shell-job is for a terminal", errno);
  Terminal terminal(fd);
  ::tcgetattr(fd, &terminal.settings_);
  return terminal;
}

Terminal::Terminal(Terminal&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      lent_(std::exchange(other.lent_, false)),
      settings_(other.settings_) {}

Terminal::~Terminal() {
  take_back();
  if (fd_ >= 0) ::close(fd_);
}

// From the background both calls send SIGTTOU to the caller unless that is blocked.
void Terminal::make_foreground(pid_t group, const termios* settings) const {
  const sigset_t set = host::signal_set({SIGTTOU});
  sigset_t before;
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  ::tcsetpgrp(fd_, group);
  if (settings) ::tcsetattr(fd_, TCSADRAIN, settings);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Terminal::lend(pid_t group, const termios* settings) {
  if (::tcgetpgrp(fd_) != ::getpgrp()) return;
  make_foreground(group, settings);
  lent_ = true;
}

void Terminal::take_back() {
  if (std::exchange(lent_, false)) make_foreground(::getpgrp(), &settings_);
}

void Terminal::stop_with(pid_t group) {
  termios of_job{};
  ::tcgetattr(fd_, &of_job);
  take_back();
  ::raise(SIGSTOP);
  lend(group, &of_job);
  ::kill(-group, SIGCONT);
}

}  // namespace ckpt::cli
