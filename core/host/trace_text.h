// What a trace says of live processes: the stops that they were brought to, and the system calls
// that threads made for ckpt, in the form of every trace (core/trace.h).
#pragma once

#include <optional>
#include <span>

#include "core/host/freeze.h"
#include "core/host/stub.h"

namespace ckpt::host {

// A call made for ckpt, if the thread is traced. `result`: none: it was not asked for.
void trace_call(const FrozenThread& thread, const StubEntry& entry,
                std::optional<std::int64_t> result);

// The calls of a program that has run, `done` with the results of those that kept theirs.
void trace_program(const FrozenThread& thread, std::span<const StubEntry> asked,
                   std::span<const StubEntry> done);

}  // namespace ckpt::host
