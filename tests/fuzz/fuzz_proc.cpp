// The parsers of /proc text, and of the kernel's answers about sockets, under arbitrary bytes. The
// first byte chooses the parser; what a parser
// accepts must obey what its header promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/host/fdinfo_state.h"
#include "core/host/maps_text.h"
#include "core/host/proc_text.h"
#include "core/host/text_scan.h"
#include "core/host/unix_diag.h"

namespace {

void require(bool promised) {
  if (!promised) std::abort();
}

void check_pids(const std::vector<pid_t>& pids) {
  for (const pid_t pid : pids) require(pid >= 0);
}

void fuzz_stat(std::string_view text) {
  const auto r = ckpt::host::parse_stat(text);
  if (r.has_error()) return;
  const auto& s = r.value();
  require(s.pid >= 0 && s.ppid >= 0 && s.pgrp >= 0 && s.session >= 0 && s.num_threads >= 0);
  require(text.find("(" + s.comm + ")") != std::string_view::npos);
}

void fuzz_status(std::string_view text) {
  const auto r = ckpt::host::parse_status(text);
  if (r.has_error()) return;
  const auto& s = r.value();
  require(s.state != 0 && s.pid >= 0 && s.tgid >= 0 && s.ppid >= 0 && s.tracer_pid >= 0);
  for (const auto* list : {&s.ns_tgid, &s.ns_pid, &s.ns_pgid, &s.ns_sid}) check_pids(*list);
}

void fuzz_link(std::string_view text) {
  using namespace ckpt::host;
  if (text.size() < 4) return;
  FdFacts facts;
  facts.mode = static_cast<unsigned char>(text[0]) * 0x1000U;
  facts.nlink = static_cast<unsigned char>(text[1]);
  facts.rdev = static_cast<unsigned char>(text[2]) * 0x100U;
  facts.name_is_it = (text[3] & 1) != 0;
  const std::string_view link = text.substr(4);
  const FdLink out = classify_fd_link(link, facts);
  require(link.starts_with(out.path));
  require(out.deleted == (out.path.size() < link.size()));
  require(fd_type_name(out.type) != nullptr);
}

void fuzz_maps(std::string_view text) {
  const auto r = ckpt::host::parse_smaps(text);
  if (r.has_error()) return;
  std::uint64_t below = 0;
  for (const ckpt::host::Mapping& m : *r) {
    require(m.start >= below && m.start < m.end && m.protection <= 7);
    require(!m.deleted || !m.name.empty());
    std::string_view flags = m.flags;
    while (const auto flag = ckpt::host::next_word(flags)) require(m.has(*flag));
    below = m.end;
  }
}

void fuzz_file_state(std::string_view text) {
  const auto state = ckpt::host::parse_file_state(text);
  require(state.state.kind <= ckpt::format::kEpoll && state.state.file_objref == 0);
  require(state.state.nr_watches == state.watches.size());
  require(state.watches.empty() || state.state.kind != 0);
}

// No message is read twice, and none that is not all there.
void fuzz_sockets(std::string_view text) {
  ckpt::host::UnixDiags sockets;
  static_cast<void>(ckpt::host::parse_unix_diag(std::as_bytes(std::span(text)), sockets));
  require(sockets.size() <= text.size() / 32);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 's':
      fuzz_stat(text);
      break;
    case 'S':
      fuzz_status(text);
      break;
    case 'i':
      static_cast<void>(ckpt::host::parse_fdinfo(text).has_error());
      break;
    case 'l':
      fuzz_link(text);
      break;
    case 'c': {
      const auto r = ckpt::host::parse_children(text);
      if (!r.has_error()) check_pids(r.value());
      break;
    }
    case 'm':
      fuzz_maps(text);
      break;
    case 'f':
      fuzz_file_state(text);
      break;
    case 'd':
      fuzz_sockets(text);
      break;
    case 'n': {
      const auto n = ckpt::host::parse_dir_number(text);
      if (n) require(std::to_string(*n) == text);
      break;
    }
    default:
      static_cast<void>(ckpt::host::parse_inode_link(text, "pid"));
  }
  return 0;
}
