#include "core/sim/history_names.h"

#include <array>
#include <cerrno>

#include "core/sim/kernel.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

namespace {

constexpr FlagName kCloneFlags[] = {
    {"CLONE_VM", kCloneVm},           {"CLONE_FS", kCloneFs},
    {"CLONE_FILES", kCloneFiles},     {"CLONE_SIGHAND", kCloneSighand},
    {"CLONE_VFORK", kCloneVfork},     {"CLONE_PARENT", kCloneParent},
    {"CLONE_THREAD", kCloneThread},   {"CLONE_NEWNS", kCloneNewNs},
    {"CLONE_SYSVSEM", kCloneSysvsem}, {"CLONE_NEWUTS", kCloneNewUts},
    {"CLONE_NEWIPC", kCloneNewIpc},   {"CLONE_NEWUSER", kCloneNewUser},
    {"CLONE_NEWPID", kCloneNewPid},   {"CLONE_NEWNET", kCloneNewNet},
};

constexpr FlagName kOpenFlags[] = {
    {"O_RDONLY", 0},          {"O_WRONLY", 01},           {"O_RDWR", 02},
    {"O_CREAT", 0100},        {"O_EXCL", 0200},           {"O_NOCTTY", 0400},
    {"O_TRUNC", 01000},       {"O_APPEND", 02000},        {"O_NONBLOCK", 04000},
    {"O_DSYNC", 010000},      {"O_SYNC", 04010000},       {"O_ASYNC", 020000},
    {"FASYNC", 020000},       {"O_DIRECT", 040000},       {"O_LARGEFILE", 0100000},
    {"O_DIRECTORY", 0200000}, {"O_NOFOLLOW", 0400000},    {"O_NOATIME", 01000000},
    {"O_CLOEXEC", 02000000},  {"O_PATH", 010000000},      {"O_TMPFILE", 020200000},
    {"O_ACCMODE", 03},        {"SOCK_CLOEXEC", 02000000}, {"SOCK_NONBLOCK", 04000},
};

constexpr FlagName kWaitFlags[] = {
    {"WNOHANG", kWaitNohang},       {"WUNTRACED", kWaitUntraced},   {"WSTOPPED", kWaitUntraced},
    {"WEXITED", kWaitExited},       {"WCONTINUED", kWaitContinued}, {"WNOWAIT", kWaitNowait},
    {"__WNOTHREAD", kWaitNothread}, {"__WALL", kWaitAll},           {"__WCLONE", kWaitClone},
};

constexpr FlagName kModeFlags[] = {
    {"S_IFSOCK", 0140000}, {"S_IFLNK", 0120000}, {"S_IFREG", 0100000}, {"S_IFBLK", 0060000},
    {"S_IFDIR", 0040000},  {"S_IFCHR", 0020000}, {"S_IFIFO", 0010000}, {"S_ISUID", 04000},
    {"S_ISGID", 02000},    {"S_ISVTX", 01000},
};

constexpr std::array<std::string_view, 32> kSignals = {
    "",     "HUP",  "INT",  "QUIT", "ILL",    "TRAP",   "ABRT",  "BUS",  "FPE",  "KILL", "USR1",
    "SEGV", "USR2", "PIPE", "ALRM", "TERM",   "STKFLT", "CHLD",  "CONT", "STOP", "TSTP", "TTIN",
    "TTOU", "URG",  "XCPU", "XFSZ", "VTALRM", "PROF",   "WINCH", "IO",   "PWR",  "SYS"};

constexpr FlagName kErrors[] = {
    {"EPERM", EPERM},   {"ENOENT", ENOENT}, {"ESRCH", ESRCH},   {"EINTR", EINTR},
    {"EIO", EIO},       {"EBADF", EBADF},   {"ECHILD", ECHILD}, {"EAGAIN", EAGAIN},
    {"ENOMEM", ENOMEM}, {"EACCES", EACCES}, {"EEXIST", EEXIST}, {"EINVAL", EINVAL},
    {"EMFILE", EMFILE}, {"ENOSPC", ENOSPC}, {"ESPIPE", ESPIPE}, {"ENFILE", ENFILE},
};

}  // namespace

std::span<const FlagName> clone_flags() {
  return kCloneFlags;
}
std::span<const FlagName> open_flags() {
  return kOpenFlags;
}
std::span<const FlagName> wait_flags() {
  return kWaitFlags;
}
std::span<const FlagName> mode_flags() {
  return kModeFlags;
}

std::uint64_t flags_value(std::string_view text, std::span<const FlagName> table) {
  std::uint64_t sum = 0;
  while (!text.empty()) {
    const std::size_t bar = std::min(text.find('|'), text.size());
    std::string_view name = without_comment(trim(text.substr(0, bar)));
    text.remove_prefix(std::min(text.size(), bar + 1));
    bool found = false;
    for (const FlagName& flag : table)
      if (flag.name == name) {
        sum |= flag.value;
        found = true;
        break;
      }
    if (found) continue;
    if (const auto number = parse_integer(name)) sum |= static_cast<std::uint64_t>(*number);
  }
  return sum;
}

int signal_number(std::string_view name) {
  if (name.starts_with("SIGRT_") || name.starts_with("SIGRTMIN")) {
    name.remove_prefix(name[5] == '_' ? 6 : 8);
    if (name.starts_with('+')) name.remove_prefix(1);
    const auto n = name.empty() ? 0 : parse_integer(name).value_or(-1);
    return n >= 0 && n <= 32 ? static_cast<int>(32 + n) : 0;
  }
  if (!name.starts_with("SIG")) {
    const auto n = parse_integer(name).value_or(0);
    return n > 0 && n <= 64 ? static_cast<int>(n) : 0;
  }
  name.remove_prefix(3);
  for (std::size_t i = 1; i < kSignals.size(); ++i)
    if (kSignals[i] == name) return static_cast<int>(i);
  return name == "POLL" ? 29 : name == "CLD" ? 17 : 0;
}

std::string signal_name(int number) {
  if (number > 0 && static_cast<std::size_t>(number) < kSignals.size())
    return "SIG" + std::string(kSignals[static_cast<std::size_t>(number)]);
  if (number >= 32 && number <= kMaxSignal) return "SIGRT_" + std::to_string(number - 32);
  return std::to_string(number);
}

int errno_number(std::string_view name) {
  for (const FlagName& error : kErrors)
    if (error.name == name) return static_cast<int>(error.value);
  return kOtherErrno;
}

std::string result_text(std::int64_t result) {
  if (result == kWouldBlock) return "waiting";
  if (result == kUnknownResult) return "a number not known";
  if (result >= 0) return std::to_string(result);
  for (const FlagName& error : kErrors)
    if (static_cast<std::int64_t>(error.value) == -result) return "-1 " + std::string(error.name);
  return -result == kOtherErrno ? "another error" : "errno " + std::to_string(-result);
}

}  // namespace ckpt::sim::history
