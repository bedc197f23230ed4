// Histories in tests: text in, and a tree as text out.
#pragma once

#include <sstream>
#include <string>

#include "core/sim/history.h"

namespace ckpt::sim {

inline Result<History> replay_text(const std::string& text,
                                   std::optional<std::uint64_t> at = std::nullopt) {
  std::istringstream in(text);
  return replay(in, "log", {at});
}

// One line a process, children indented: `100 pgrp=100 sid=? sh Z`, threads as `+101`.
inline std::string tree(const History& history) {
  std::string out;
  const core::Process& world = history.machine->world();
  core::for_each_process(history.machine->world(), [&](core::Process& p) {
    if (&p == &world) return;
    for (const core::Process* q = p.parent; q != &world; q = q->parent) out += "  ";
    out += to_string(*p.tgid) + " pgrp=" + to_string(*p.pgrp) + " sid=" + to_string(*p.session);
    if (!p.leader->name().empty()) out += " " + std::string(p.leader->name());
    if (p.zombie) out += " Z";
    if (p.stopped) out += " T";
    if (p.leader->exited && !p.zombie) out += " dead";
    for (const core::Task& thread : p.threads)
      if (&thread != p.leader) out += " +" + to_string(*thread.pid);
    out += "\n";
  });
  return out;
}

inline core::Process* find(const History& history, core::Nr nr) {
  const core::Pid* pid = history.machine->root_ns().find(nr);
  return pid ? pid->process : nullptr;
}

// `3 /etc/passwd @10`, one a line; `x` after the number: close-on-exec; `?`: opaque.
inline std::string fds(const History& history, core::Nr nr) {
  const core::Process* p = find(history, nr);
  if (!p || !p->files) return {};
  std::string out;
  for (const core::Fd& fd : p->files->fds()) {
    out += std::to_string(fd.fd) + (fd.cloexec ? "x " : " ");
    out += fd.file->type == format::kFileOpaque && fd.file->path.empty() ? "?" : fd.file->path;
    if (fd.file->offset) out += " @" + std::to_string(fd.file->offset);
    out += "\n";
  }
  return out;
}

}  // namespace ckpt::sim
