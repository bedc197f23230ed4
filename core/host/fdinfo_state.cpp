#include "core/host/fdinfo_state.h"

#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

constexpr std::string_view kSemaphore = "eventfd-semaphore";

// "(5, 999)": seconds and nanoseconds.
bool parse_time(std::string_view text, std::uint64_t& nanoseconds) {
  const auto comma = text.find(',');
  std::uint64_t s = 0, ns = 0;
  if (text.size() < 2 || text.front() != '(' || text.back() != ')' ||
      comma == std::string_view::npos || !scan(trim(text.substr(1, comma - 1)), s) ||
      !scan(trim(text.substr(comma + 1, text.size() - comma - 2)), ns))
    return false;
  nanoseconds = s * 1000000000 + ns;
  return true;
}

// "4 events: 80000019 data:                4  pos:0 ino:40e sdev:10", after "tfd:".
bool parse_watch(std::string_view line, format::EpollWatch& watch) {
  const auto fd = next_word(line), events_key = next_word(line), events = next_word(line),
             data_key = next_word(line), data = next_word(line);
  std::int32_t number = 0;
  std::uint32_t bits = 0;
  std::uint64_t value = 0;
  if (!data || events_key != "events:" || data_key != "data:" || !scan(*fd, number) ||
      !scan_base(*events, bits, 16) || !scan_base(*data, value, 16))
    return false;
  watch.fd = number;
  watch.events = bits;
  watch.data = value;
  return true;
}

// One line of the inside; false if it is not understood.
bool take_line(std::string_view key, std::string_view value, format::ImageFileState& out) {
  format::FileState& s = out.state;
  std::uint64_t number = 0;
  if (key == "eventfd-count") {
    s.kind = format::kEventfd;
    if (!scan_base(value, number, 16)) return false;
    s.value = number;
  } else if (key == kSemaphore) {
    if (!scan(value, number)) return false;
    s.flags = static_cast<std::uint32_t>(number);
  } else if (key == "sigmask") {
    s.kind = format::kSignalfd;
    if (!scan_base(value, number, 16)) return false;
    s.value = number;
  } else if (key == "clockid") {
    s.kind = format::kTimerfd;
    if (!scan(value, number)) return false;
    s.clock = static_cast<std::uint32_t>(number);
  } else if (key == "ticks") {
    if (!scan(value, number)) return false;
    s.ticks = number;
  } else if (key == "it_value") {
    if (!parse_time(value, number)) return false;
    s.value = number;
  } else if (key == "it_interval") {
    if (!parse_time(value, number)) return false;
    s.interval = number;
  } else if (key == "tfd") {
    s.kind = format::kEpoll;
    format::EpollWatch watch{};
    if (!parse_watch(value, watch)) return false;
    out.watches.push_back(watch);
  }
  return true;
}

}  // namespace

format::ImageFileState parse_file_state(std::string_view fdinfo) {
  format::ImageFileState out;
  while (!fdinfo.empty()) {
    const std::string_view line = next_line(fdinfo);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    if (!take_line(line.substr(0, colon), trim(line.substr(colon + 1)), out)) return {};
  }
  out.state.nr_watches = static_cast<std::uint32_t>(out.watches.size());
  return out;
}

bool tells_semaphore(std::string_view fdinfo) {
  while (!fdinfo.empty()) {
    const std::string_view line = next_line(fdinfo);
    if (line.substr(0, line.find(':')) == kSemaphore) return true;
  }
  return false;
}

}  // namespace ckpt::host
