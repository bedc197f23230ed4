// inspect --trace: the trace that an image holds.
#include <boost/json.hpp>
#include <charconv>

#include "cli/views.h"

namespace ckpt::cli {

namespace {

// A line taken apart: `# [fast] 100/102 17 text`, of a cluster, else without the node. Numbers that
// are not known are none.
struct TraceLine {
  bool note = false;  // what the kernel did because of it
  std::optional<std::int64_t> pid, lwp, time;
  std::string_view node;  // where it happened; empty: there are none
  std::string_view text;

  explicit TraceLine(std::string_view line) : text(line) {
    note = take("# ");
    if (const std::size_t end = text.find("] "); take("[") && end != std::string_view::npos) {
      node = text.substr(0, end - 1);
      text.remove_prefix(end + 1);
    }
    pid = number("/");
    lwp = number(" ");
    time = number(" ");
  }

 private:
  bool take(std::string_view prefix) {
    if (!text.starts_with(prefix)) return false;
    text.remove_prefix(prefix.size());
    return true;
  }
  std::optional<std::int64_t> number(std::string_view end) {
    const std::size_t at = text.find(end);
    if (at == std::string_view::npos) return {};
    std::int64_t value = 0;
    const auto done = std::from_chars(text.data(), text.data() + at, value);
    const bool whole = done.ec == std::errc() && done.ptr == text.data() + at;
    text.remove_prefix(at + end.size());
    return whole ? std::optional(value) : std::nullopt;
  }
};

boost::json::value or_null(const std::optional<std::int64_t>& number) {
  return number ? boost::json::value(*number) : boost::json::value();
}

}  // namespace

void print_trace(Out& out, const format::Image& image, std::optional<std::int32_t> only,
                 bool json) {
  if (json) out << "{\"trace\": [";
  std::string_view rest = image.trace;
  for (bool first = true; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() + 1);
    const TraceLine record(line);
    if (only && record.pid != *only) continue;
    if (!json) {
      out << printable(line) << "\n";
      continue;
    }
    boost::json::object o{{"time", or_null(record.time)},
                          {"pid", or_null(record.pid)},
                          {"lwp", or_null(record.lwp)},
                          {"note", record.note},
                          {"text", valid_utf8(record.text)}};
    if (!record.node.empty()) o["node"] = valid_utf8(record.node);
    out << (first ? "\n" : ",\n") << boost::json::serialize(o);
    first = false;
  }
  if (json) out << "\n]}\n";
}

}  // namespace ckpt::cli
