#include "core/host/trace_text.h"

#include <sys/syscall.h>

#include <array>
#include <charconv>
#include <utility>

namespace ckpt::host {

namespace {

// Those that are made: gather_inside.cpp, inject.cpp, place.cpp.
constexpr std::pair<std::int32_t, const char*> kNames[] = {
    {SYS_brk, "brk"},
    {SYS_getitimer, "getitimer"},
    {SYS_getrlimit, "getrlimit"},
    {SYS_mmap, "mmap"},
    {SYS_msync, "msync"},
    {SYS_munmap, "munmap"},
    {SYS_personality, "personality"},
    {SYS_prctl, "prctl"},
    {SYS_rt_sigaction, "rt_sigaction"},
    {SYS_rt_sigprocmask, "rt_sigprocmask"},
    {SYS_sigaltstack, "sigaltstack"},
    {SYS_tgkill, "tgkill"},
    {SYS_timer_getoverrun, "timer_getoverrun"},
    {SYS_timer_gettime, "timer_gettime"},
};

std::string name_of(std::int32_t nr) {
  for (const auto& [known, name] : kNames)
    if (known == nr) return name;
  return "syscall_" + std::to_string(nr);
}

std::string argument(std::uint64_t value) {
  if (value < 4096) return std::to_string(value);
  std::array<char, 16> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, 16).ptr;
  return "0x" + std::string(digits.data(), end);
}

}  // namespace

void trace_call(const FrozenThread& thread, const StubEntry& entry,
                std::optional<std::int64_t> result) {
  if (!core::kTraceBuilt || !thread.trace || entry.nr < 0) return;
  std::size_t last = std::size(entry.a);
  while (last > 0 && entry.a[last - 1] == 0) --last;
  std::string text = name_of(entry.nr) + "(";
  // The last place may hold a result instead of an argument.
  if (entry.flags & kStubResult) last = std::min<std::size_t>(last, 5);
  for (std::size_t i = 0; i < last; ++i) text += (i > 0 ? ", " : "") + argument(entry.a[i]);
  text += ") = ";
  if (!result)
    text += "?";
  else if (*result < 0 && *result >= -4095)
    text += "-1 errno " + std::to_string(-*result);
  else
    text += argument(static_cast<std::uint64_t>(*result));
  thread.trace->add(thread.who, core::TraceKind::call, std::move(text));
}

void trace_program(const FrozenThread& thread, std::span<const StubEntry> asked,
                   std::span<const StubEntry> done) {
  if (!core::kTraceBuilt || !thread.trace) return;
  for (std::size_t i = 0; i < done.size(); ++i) {
    const std::uint64_t last = done[i].a[5];
    if (done[i].flags & kStubRepeat) {
      StubEntry one = asked[i];
      const std::uint64_t step = std::exchange(one.a[4], 0);
      for (std::uint64_t left = std::exchange(one.a[5], 0); left > last; --left) {
        trace_call(thread, one, 0);
        ++one.a[0];
        one.a[1] += step & 0xffffffff;
        one.a[2] += step >> 32;
      }
    } else if (done[i].flags & kStubResult) {
      trace_call(thread, done[i], static_cast<std::int64_t>(last));
    } else {
      trace_call(thread, done[i], {});
    }
  }
}

}  // namespace ckpt::host
