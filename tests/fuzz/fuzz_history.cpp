// libFuzzer: any bytes as a history. Whatever they say, the replay ends in a machine that keeps its
// invariants or in an error, in bounded time and memory. The first byte may choose --at.
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

#include "core/sim/history.h"

namespace {

void check_machine(const ckpt::sim::History& history) {
  std::size_t seen = 0;
  ckpt::core::for_each_process(history.machine->world(), [&](ckpt::core::Process& p) {
    if (&p == &history.machine->world()) return;
    ++seen;
    CKPT_ASSERT(p.leader && p.tgid && p.pgrp && p.session && p.parent);
    CKPT_ASSERT(p.tgid->process == &p && p.tgid->task == p.leader);
    CKPT_ASSERT(!p.zombie || (!p.files && p.leader->exited));
    if (!p.files) return;
    int last = -1;
    for (const ckpt::core::Fd& fd : p.files->fds()) {
      CKPT_ASSERT(fd.fd > last && fd.file);
      last = fd.fd;
    }
  });
  CKPT_ASSERT(seen == history.machine->processes());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ckpt::sim::HistoryOptions options;
  if (size > 0 && data[0] < 16) options.at_line = data[0];
  std::istringstream in(std::string(reinterpret_cast<const char*>(data), size));
  auto result = ckpt::sim::replay(in, "fuzz", options);
  if (result.has_value()) check_machine(result.value());
  return 0;
}
