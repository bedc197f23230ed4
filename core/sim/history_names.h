// Names of flags, signals and errors as strace writes them, and their numbers on x86-64.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::sim::history {

struct FlagName {
  std::string_view name;
  std::uint64_t value;
};

// The sum of the flags in `A|B|0x10`; names that the table does not hold count nothing.
[[nodiscard]] std::uint64_t flags_value(std::string_view text, std::span<const FlagName> table);

[[nodiscard]] std::span<const FlagName> clone_flags();
[[nodiscard]] std::span<const FlagName> open_flags();
[[nodiscard]] std::span<const FlagName> wait_flags();
[[nodiscard]] std::span<const FlagName> mode_flags();  // S_IF...

// `SIGTERM` -> 15; 0 if unknown.
[[nodiscard]] int signal_number(std::string_view name);
// 15 -> `SIGTERM`, 34 -> `SIGRT_2`; the number where there is no such signal.
[[nodiscard]] std::string signal_name(int number);
// `ENOENT` -> 2; kOtherErrno if the model does not know it.
[[nodiscard]] int errno_number(std::string_view name);
constexpr int kOtherErrno = 999;
// -errno as "-1 ENOENT", others in decimal.
[[nodiscard]] std::string result_text(std::int64_t result);

}  // namespace ckpt::sim::history
