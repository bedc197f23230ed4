// Small helpers to take text apart: words, lines, numbers that must fill their word and fit.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace ckpt::host {

constexpr bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

inline std::string_view trim(std::string_view s) {
  while (!s.empty() && is_blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && is_blank(s.back())) s.remove_suffix(1);
  return s;
}

// Takes the next word off `rest`; nullopt at the end.
inline std::optional<std::string_view> next_word(std::string_view& rest) {
  std::size_t first = 0;
  while (first < rest.size() && is_blank(rest[first])) ++first;
  std::size_t last = first;
  while (last < rest.size() && !is_blank(rest[last])) ++last;
  const std::string_view word = rest.substr(first, last - first);
  rest.remove_prefix(last);
  if (word.empty()) return {};
  return word;
}

// Takes the next line off `rest`, without its newline.
inline std::string_view next_line(std::string_view& rest) {
  const auto end = std::min(rest.find('\n'), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  return line;
}

// The whole of `s` is a number of type T.
template <class T>
bool scan_base(std::string_view s, T& out, int base) {
  const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), out, base);
  return error == std::errc() && end == s.data() + s.size();
}
template <class T>
bool scan(std::string_view s, T& out) {
  return scan_base(s, out, 10);
}

}  // namespace ckpt::host
