// Histories in tests: text in, and a tree as text out.
#pragma once

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "core/sim/history.h"

namespace ckpt::sim {

inline std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

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
    out += fd.file->name().empty() ? "?" : fd.file->name();
    if (fd.file->deleted()) out += " (deleted)";
    if (fd.file->offset) out += " @" + std::to_string(fd.file->offset);
    out += "\n";
  }
  return out;
}

// tree() of what a log leaves, or of what it had made by line `at`.
inline std::string tree_of(const std::string& text,
                           std::optional<std::uint64_t> at = std::nullopt) {
  auto r = replay_text(text, at);
  return r.has_error() ? "error: " + r.error().message() : tree(r.value());
}

// The line that a log's error names; 0 if there is none.
inline std::uint64_t error_line(const std::string& text) {
  auto r = replay_text(text);
  return r.has_error() ? r.error().line.value_or(0) : 0;
}

inline const std::string kStart = "100 execve(\"/bin/sh\", [\"sh\"], 0x1 /* 1 var */) = 0\n";

}  // namespace ckpt::sim
