#include "core/sim/notes.h"

#include "core/file_server.h"
#include "core/sim/history_names.h"

namespace ckpt::sim {

std::string birth_text(const Task* parent) {
  return "returns 0 from clone, born of " +
         (parent ? core::to_string(core::actor_of(*parent)) : std::string("outside"));
}

std::string end_text(std::uint32_t status) {
  const std::uint32_t signal = status & 0x7f;
  if (signal == 0) return "+++ exited with " + std::to_string(status >> 8 & 0xff) + " +++";
  return "+++ killed by " + history::signal_name(static_cast<int>(signal)) +
         (status & 0x80 ? " (core dumped)" : "") + " +++";
}

std::string stop_text(int signal) {
  if (signal == 0) return "--- continued ---";
  return "--- stopped by " + history::signal_name(signal) + " ---";
}

void note_reopen(Machine& m, const Task& task, int fd, const core::File& file) {
  const core::FileServer& server = file.pipe ? *file.pipe->server : *file.server;
  m.trace()->add(
      {{}, {0, server.number()}}, TraceKind::server,
      "reopens fd " + std::to_string(fd) + " for " + core::to_string(core::actor_of(task)));
}

std::string quoted(std::string_view bytes) {
  std::string text = "\"";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text += '\\';
      text += c;
    } else if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      constexpr char kHex[] = "0123456789abcdef";
      text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return text + '"';
}

}  // namespace ckpt::sim
