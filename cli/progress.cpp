#include "cli/progress.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>

namespace ckpt::cli {

namespace {
constexpr std::chrono::milliseconds kPatience{700}, kInterval{200};

std::string amount(std::uint64_t n, const std::string& unit) {
  return unit == "bytes" ? human_size(n) : std::to_string(n) + " " + unit;
}
}  // namespace

Progress::Progress(const Console& console, std::string what, std::string unit, std::uint64_t total)
    : wanted_(!console.quiet && is_terminal(STDERR_FILENO)),
      what_(printable(what)),
      unit_(std::move(unit)),
      total_(total),
      start_(Clock::now()),
      next_(start_ + kPatience) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\033[K", stderr), std::fflush(stderr);
}

void Progress::at(std::uint64_t done) {
  if (!wanted_) return;
  const auto now = Clock::now();
  if (now >= next_) show(done, now);
}

void Progress::show(std::uint64_t done, Clock::time_point now) {
  next_ = now + kInterval;
  shown_ = true;
  std::string line = what_ + ": " + amount(done, unit_);
  if (total_ > 0 && done > 0 && done <= total_) {
    const double seconds = std::chrono::duration<double>(now - start_).count();
    const double left = seconds * static_cast<double>(total_ - done) / static_cast<double>(done);
    line += " of " + amount(total_, unit_) + ", " + std::to_string(done * 100 / total_) + "%, " +
            std::to_string(std::lround(left)) + " s left";
  }
  std::fprintf(stderr, "\r%s\033[K", line.c_str());
  std::fflush(stderr);
}

}  // namespace ckpt::cli
