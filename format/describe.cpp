#include "format/describe.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace ckpt::format {
namespace {

constexpr std::size_t kShownBytes = 16;

void append_hex(std::string& out, unsigned char c) {
  constexpr std::string_view digits = "0123456789abcdef";
  out += digits[c >> 4];
  out += digits[c & 15];
}

bool is_text(std::uint32_t type) {
  return type == static_cast<std::uint32_t>(RecordType::string) ||
         type == static_cast<std::uint32_t>(RecordType::file_name) ||
         type == static_cast<std::uint32_t>(RecordType::node);
}

// Up to the first NUL.
std::string_view text_of(const RecordView& record) {
  const std::string_view all(reinterpret_cast<const char*>(record.payload.data()),
                             record.payload.size());
  return all.substr(0, all.find('\0'));
}

// Bytes of the UTF-8 character at the start of `s`, or 0 if there is none: RFC 3629.
std::size_t utf8_length(std::string_view s) {
  const auto byte = [s](std::size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || s.size() < n) return 0;
  const unsigned char low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (std::size_t i = 2; i < n; ++i)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  return n;
}

// Modes and flags in octal, as the kernel and its tools show them; magic numbers in hex.
std::string shown(std::string_view, std::int64_t value) {
  return std::to_string(value);
}
std::string shown(std::string_view field, std::uint64_t value) {
  const bool octal = field == "f_mode" || field == "f_flags" || field == "umask";
  if (!octal && field != "magic") return std::to_string(value);
  std::array<char, 24> digits;
  const auto end =
      std::to_chars(digits.data(), digits.data() + digits.size(), value, octal ? 8 : 16);
  return (octal ? "0" : "0x") + std::string(digits.data(), end.ptr);
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= ' ' && c < '\x7f' && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      append_hex(out, static_cast<unsigned char>(c));
    }
  }
  return out;
}

std::string utf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 0)
      out += "\xef\xbf\xbd";
    else
      out += text.substr(0, n);
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

std::string print_record(const RecordView& record) {
  const char* name = record_name(record.type);
  std::string line = std::to_string(record.number) + "  " + std::to_string(record.offset) + "  " +
                     (name ? name : "type " + std::to_string(record.type)) +
                     "  len=" + std::to_string(record.payload.size() + sizeof(RecordHead));
  std::string fields;
  const bool fixed =
      for_each_field(record.type, record.payload, [&](std::string_view field, auto value) {
        fields += fields.empty() ? "  " : " ";
        fields.append(field) += "=" + shown(field, value);
      });
  if (fixed) return line + fields;
  if (is_text(record.type)) return line + "  \"" + printable(text_of(record)) + "\"";
  if (record.payload.empty()) return line;
  line += ' ';
  for (std::size_t i = 0; i < std::min(record.payload.size(), kShownBytes); ++i) {
    line += ' ';
    append_hex(line, std::to_integer<unsigned char>(record.payload[i]));
  }
  if (record.payload.size() > kShownBytes) line += " ...";
  return line;
}

std::string lock_text(const FileLock& lock) {
  std::string text = lock.kind == kLockFlock ? "flock" : lock.kind == kLockOfd ? "ofd" : "fcntl";
  text += lock.exclusive ? " write" : " read";
  if (lock.kind == kLockFlock) return text;
  text += " " + std::to_string(lock.start) + "-";
  return lock.end == kLockEnd ? text : text + std::to_string(lock.end);
}

std::string request_text(const Request& request, const std::string& target) {
  if (request.kind == kRequestWait) {
    switch (request.who) {
      case kWaitPid:
        return "wait for " + target;
      case kWaitGroup:
        return "wait for group " + target;
      case kWaitOwnGroup:
        return "wait for its group";
      default:
        return "wait for any child";
    }
  }
  const bool writes = request.kind == kRequestWrite || request.kind == kRequestAsyncWrite;
  std::string text = writes ? "write" : "read";
  if (request.bytes != 0) text += " of " + std::to_string(request.bytes) + " bytes";
  if (request.offset >= 0) text += " at " + std::to_string(request.offset);
  text += (writes ? " to fd " : " from fd ") + std::to_string(request.fd);
  return request.kind >= kRequestAsyncRead ? text + ", asynchronous" : text;
}

boost::json::object record_json(const RecordView& record) {
  boost::json::object out;
  const char* name = record_name(record.type);
  out["number"] = record.number;
  out["offset"] = record.offset;
  out["type"] = record.type;
  out["name"] = name ? boost::json::value(name) : boost::json::value(nullptr);
  out["len"] = record.payload.size() + sizeof(RecordHead);
  boost::json::object fields;
  if (for_each_field(record.type, record.payload,
                     [&](std::string_view field, auto value) { fields[field] = value; }))
    out["fields"] = std::move(fields);
  else if (is_text(record.type))
    out["text"] = utf8(text_of(record));
  else
    out["bytes"] = record.payload.size();
  return out;
}

}  // namespace ckpt::format
