// Errors that the world can cause, as values: a damaged image, a vanished process, a kernel's
// refusal. Mistakes of our own are asserts (CKPT_ASSERT), which stay on in release builds.
#pragma once

#include <boost/system/result.hpp>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <utility>

namespace ckpt {

// What an error means to a script; cli/ maps it to the exit code.
enum class ErrorKind {
  cannot,   // cannot be done: not checkpointable, not restorable, conflict, I/O error (exit 1)
  usage,    // wrong usage (exit 2)
  damaged,  // the image is damaged, truncated, or of an unknown version (exit 3)
};

struct Error {
  ErrorKind kind = ErrorKind::cannot;
  std::string what;    // what failed, e.g. "cannot read image"
  std::string detail;  // where and why, e.g. "record 17 (TREE) at offset 4242: length 3 is below 8"
  std::string hint;    // what to do about it; may be empty
  int errno_value = 0;                  // the kernel's reason (errno(3)), 0 if there is none
  std::optional<std::uint64_t> offset;  // byte offset in the image file, where one is known
  std::optional<std::uint64_t> line;    // line of a history, counted from 1, where one is known

  // "what: detail (hint)"
  [[nodiscard]] std::string message() const {
    std::string s = what;
    if (!detail.empty()) s += ": " + detail;
    if (!hint.empty()) s += " (" + hint + ")";
    return s;
  }
};

inline std::ostream& operator<<(std::ostream& out, const Error& error) {
  return out << error.message();
}

// Called by Result::value() on an error: our own mistake, since callers must test first.
[[noreturn]] void throw_exception_from_error(const Error& error,
                                             const boost::source_location& where);

// A value or an Error.
template <class T>
class [[nodiscard]] Result : public boost::system::result<T, Error> {
 public:
  using boost::system::result<T, Error>::result;
};
using Status = Result<void>;

inline Error cannot(std::string what, std::string detail = {}, std::string hint = {}, int err = 0) {
  return {ErrorKind::cannot, std::move(what), std::move(detail), std::move(hint), err, {}, {}};
}
inline Error damaged(std::string what, std::string detail,
                     std::optional<std::uint64_t> offset = {}) {
  return {ErrorKind::damaged, std::move(what), std::move(detail), {}, 0, offset, {}};
}

[[noreturn]] void assertion_failed(const char* what, const char* file, int line);

}  // namespace ckpt

// An invariant of our own; never a check of input.
#define CKPT_ASSERT(cond) \
  (static_cast<bool>(cond) ? void(0) : ::ckpt::assertion_failed(#cond, __FILE__, __LINE__))

#define CKPT_CONCAT_(a, b) a##b
#define CKPT_CONCAT(a, b) CKPT_CONCAT_(a, b)

// CKPT_TRY(auto x, f()): x is the value of f(), or the enclosing function returns f()'s error.
#define CKPT_TRY(decl, expr) CKPT_TRY_(CKPT_CONCAT(ckpt_try_, __COUNTER__), decl, expr)
#define CKPT_TRY_(tmp, decl, expr)         \
  auto tmp = (expr);                       \
  if (tmp.has_error()) return tmp.error(); \
  decl = std::move(tmp).value()

// CKPT_CHECK(f()): as CKPT_TRY for a Status.
#define CKPT_CHECK(expr) \
  if (auto ckpt_check = (expr); ckpt_check.has_error()) return ckpt_check.error()
