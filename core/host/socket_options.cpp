#include "core/host/socket_options.h"

#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <climits>
#include <string>

#include "core/host/inject.h"

namespace ckpt::host {

namespace {

constexpr std::int64_t kSecond = 1000000;     // microseconds
constexpr std::int64_t kLingers = 1LL << 32;  // in the value of SO_LINGER
constexpr std::uint32_t kBufferLock = 72;     // SO_BUF_LOCK
constexpr std::size_t kMaxValue = 16;         // bytes of an option's value

// That no image holds: SO_DEBUG, NO_CHECK, REUSEPORT, BINDTODEVICE, GET_FILTER, TIMESTAMP (twice),
// TIMESTAMPNS (twice), TIMESTAMPING (twice), WIFI_STATUS, NOFCS, LOCK_FILTER, SELECT_ERR_QUEUE,
// BUSY_POLL, MAX_PACING_RATE, ZEROCOPY, TXTIME, PREFER_BUSY_POLL, RESERVE_MEM, TXREHASH. To read
// one changes nothing, as it would with SO_ERROR.
constexpr int kForeign[] = {1,  11, 15, 25, 26, 29, 35, 37, 41, 43, 44,
                            45, 46, 47, 60, 61, 63, 64, 65, 69, 73, 74};

// Bytes, or the error.
std::string raw_option(int socket, int option) {
  char value[kMaxValue] = {};
  socklen_t size = sizeof value;
  if (::getsockopt(socket, SOL_SOCKET, option, value, &size) != 0)
    return "error " + std::to_string(errno);
  return {value, size};
}

template <class T>
bool get(int socket, std::uint32_t option, T& value) {
  socklen_t size = sizeof value;
  return ::getsockopt(socket, SOL_SOCKET, static_cast<int>(option), &value, &size) == 0;
}

template <class T>
bool set(int socket, std::uint32_t option, const T& value) {
  return ::setsockopt(socket, SOL_SOCKET, static_cast<int>(option), &value, sizeof value) == 0;
}

}  // namespace

std::optional<std::int64_t> socket_option(int socket, std::uint32_t option) {
  if (option == SO_RCVTIMEO || option == SO_SNDTIMEO) {
    timeval time{};
    if (!get(socket, option, time)) return {};
    return time.tv_sec * kSecond + time.tv_usec;
  }
  if (option == SO_LINGER) {
    linger value{};
    if (!get(socket, option, value)) return {};
    return value.l_linger + (value.l_onoff != 0 ? kLingers : 0);
  }
  int value = 0;
  if (!get(socket, option, value)) return {};
  return value;
}

SocketOptions socket_options(int socket, std::uint32_t type) {
  SocketOptions out;
  const Descriptor fresh(::socket(AF_UNIX, static_cast<int>(type) | SOCK_CLOEXEC, 0));
  for (const std::uint32_t option : format::kSocketOptions) {
    const auto value = socket_option(socket, option);
    // How much it may hold depends on the machine, even in a new one; to set it locks it.
    const bool size = option == SO_SNDBUF || option == SO_RCVBUF || option == kBufferLock;
    if (value && (size || value != socket_option(fresh.get(), option)))
      out.held.push_back({option, 0, *value});
  }
  for (const int option : kForeign)
    if (raw_option(socket, option) != raw_option(fresh.get(), option))
      out.foreign = static_cast<std::uint32_t>(option);
  return out;
}

bool set_socket_option(int socket, const format::SocketOption& option) {
  const std::int64_t value = option.value;
  if (socket_option(socket, option.option) == value) return true;
  if (option.option == SO_RCVTIMEO || option.option == SO_SNDTIMEO)
    return set(socket, option.option, timeval{value / kSecond, value % kSecond});
  if (option.option == SO_LINGER)
    return set(socket, option.option,
               linger{value >= kLingers, static_cast<int>(value % kLingers)});
  if (value < INT_MIN || value > INT_MAX) {
    errno = ERANGE;
    return false;
  }
  if (option.option != SO_SNDBUF && option.option != SO_RCVBUF)
    return set(socket, option.option, static_cast<int>(value));
  // The kernel doubles what it is told. Who may not exceed the limit gets less, without an error.
  const int half = static_cast<int>(value / 2);
  const bool sends = option.option == SO_SNDBUF;
  if (!set(socket, sends ? SO_SNDBUFFORCE : SO_RCVBUFFORCE, half) &&
      !set(socket, option.option, half))
    return false;
  errno = EPERM;
  return socket_option(socket, option.option) == value;
}

}  // namespace ckpt::host
