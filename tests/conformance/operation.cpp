#include "tests/conformance/operation.h"

#include <cstdlib>
#include <cstring>
#include <sstream>

namespace ckpt::conformance {

namespace {
constexpr const char* kNames[] = {
#define X(name) #name,
    CKPT_CONFORMANCE_VERBS(X)
#undef X
};
}  // namespace

const char* name_of(Verb verb) {
  return kNames[static_cast<std::size_t>(verb)];
}

namespace {

std::optional<long> parse_result(const std::string& word) {
  for (int e = 1; e < 134; ++e)
    if (const char* name = strerrorname_np(e); name && word == name) return -e;
  char* end = nullptr;
  const long value = std::strtol(word.c_str(), &end, 0);
  if (word.empty() || *end != '\0') return {};
  return value;
}

}  // namespace

std::string to_string(const Operation& op) {
  std::string line = std::to_string(op.actor) + " " + name_of(op.verb);
  for (std::size_t i = 0; i < op.args.size(); ++i) {
    const bool flags = op.args[i] > 4096;
    std::ostringstream text;
    if (flags) text << "0x" << std::hex;
    text << op.args[i];
    line += " " + text.str();
  }
  return line;
}

std::optional<Operation> parse_operation(const std::string& line) {
  std::istringstream in(line);
  Operation op;
  std::string verb, word;
  if (!(in >> op.actor >> verb)) return {};
  std::size_t i = 0;
  while (i < std::size(kNames) && verb != kNames[i]) ++i;
  if (i == std::size(kNames)) return {};
  op.verb = static_cast<Verb>(i);
  while (in >> word) {
    char* end = nullptr;
    if (word == "=") {
      if (!(in >> word) || !(op.result = parse_result(word)) || in >> word) return {};
      break;
    }
    op.args.push_back(std::strtol(word.c_str(), &end, 0));
    if (*end != '\0') return {};
  }
  return op;
}

}  // namespace ckpt::conformance
