// Walking over strace's text token by token, so that commas and brackets in strings, annotations
// and comments are not taken for structure. Shared by strace_line.cpp and strace_value.cpp.
#pragma once

#include <cstddef>
#include <string_view>

namespace ckpt::sim {

constexpr auto npos = std::string_view::npos;

class Scanner {
 public:
  explicit Scanner(std::string_view text, std::size_t at = 0) : text_(text), at_(at) {}

  [[nodiscard]] bool done() const { return at_ >= text_.size(); }
  [[nodiscard]] std::size_t at() const { return at_; }
  // Brackets of any kind that are open here; below 0 after a closing one too many.
  [[nodiscard]] int depth() const { return depth_; }
  // The character that the next token begins with; not at the end.
  [[nodiscard]] char peek() const { return text_[at_]; }

  // Passes over one token: a whole "string", <annotation>, /* comment */, or one character.
  void step();

 private:
  std::string_view text_;
  std::size_t at_;
  int depth_ = 0;
  // Once one was found to have no end, the next ones are not tried: keeps the walk linear.
  bool annotations_ = true;
  bool comments_ = true;
};

// The position behind the string that begins at text[at] == '"', or npos if it has no end.
std::size_t string_end(std::string_view text, std::size_t at);

// The position behind the annotation that begins at text[at] == '<', or npos. Paths hold no bare
// '<' or '>' (strace writes \74 and \76), but `/dev/tty<char 5:0>` nests, and sockets have arrows:
// `TCP:[127.0.0.1:80->127.0.0.1:90]`.
std::size_t annotation_end(std::string_view text, std::size_t at);

// The position of the bracket that closes the one at text[at], or npos.
std::size_t closing_bracket(std::string_view text, std::size_t at);

inline bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}
inline bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
inline bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
inline bool is_name_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
// What the name of a node may consist of in a history.
inline bool is_node_char(char c) {
  return is_name_char(c) || c == '.' || c == '-';
}

}  // namespace ckpt::sim
