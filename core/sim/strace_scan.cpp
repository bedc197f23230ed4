// Tokens of strace's text.
#include "core/sim/strace_scan.h"

namespace ckpt::sim {

void Scanner::step() {
  const char c = text_[at_];
  std::size_t end = npos;
  if (c == '"') {
    end = string_end(text_, at_);
    at_ = end == npos ? text_.size() : end;
    return;
  }
  if (c == '<' && annotations_) {
    if (text_.substr(at_, 2) == "<<") {  // `1<<CAP_CHOWN`
      at_ += 2;
      return;
    }
    end = annotation_end(text_, at_);
    annotations_ = end != npos;
  } else if (c == '/' && comments_ && text_.substr(at_, 2) == "/*") {
    const std::size_t close = text_.find("*/", at_ + 2);
    comments_ = close != npos;
    if (comments_) end = close + 2;
  } else if (c == '(' || c == '[' || c == '{') {
    ++depth_;
  } else if (c == ')' || c == ']' || c == '}') {
    --depth_;
  }
  at_ = end == npos ? at_ + 1 : end;
}

std::size_t string_end(std::string_view text, std::size_t at) {
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i + 1;
    }
  }
  return npos;
}

std::size_t annotation_end(std::string_view text, std::size_t at) {
  const bool is_path = at + 1 < text.size() && text[at + 1] == '/';
  int nested = 1;
  int brackets = 0;
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '<') {
      ++nested;
    } else if (c == '>') {
      const bool arrow = brackets > 0 && text[i - 1] == '-';
      if (!arrow && --nested == 0) return i + 1;
    } else if (is_path) {
      continue;
    } else if (c == '[') {
      ++brackets;
    } else if (c == ']' && brackets > 0) {
      --brackets;
    } else if (c == '"' && brackets > 0) {
      i = string_end(text, i);
      if (i == npos) return npos;
      --i;
    }
  }
  return npos;
}

std::size_t closing_bracket(std::string_view text, std::size_t at) {
  Scanner scan(text, at);
  while (!scan.done()) {
    const std::size_t here = scan.at();
    scan.step();
    if (scan.depth() == 0) return here;
  }
  return npos;
}

}  // namespace ckpt::sim
