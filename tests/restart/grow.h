// Machines for the tests of restart: grown by system calls of the simulated kernel, and taken into
// an image.
#pragma once

#include <random>
#include <stdexcept>
#include <string>

#include "core/checkpoint.h"
#include "format/stream.h"
#include "restart/check_plan.h"
#include "restart/planner.h"
#include "restart/print_plan.h"
#include "restart/rehearse.h"
#include "restart/validate.h"
#include "tests/sim/world.h"

namespace ckpt::restart {

inline Result<format::Image> image_of(core::Machine& machine, core::Process& root) {
  format::MemoryRecords records;
  CKPT_CHECK(core::checkpoint(machine, root, {}, records));
  format::MemoryRecordSource source(records.bytes);
  return format::read_image(source);
}

// A world whose first process is `root`; containers have number 1.
struct Grown : sim::World {
  explicit Grown(core::Nr number = 100) {
    machine.root_ns().last_nr = number;
    root = fork(nullptr, {number}).process;
    kernel.setsid(*root->leader);
  }
  core::Process* root = nullptr;

  sim::Task& child(sim::Task& of, std::initializer_list<core::Nr> numbers = {},
                   std::uint64_t flags = 0) {
    return fork(&of, numbers, flags);
  }
  // Exits, and is reaped by its parent.
  void end(sim::Task& task) {
    const core::Ref<core::Pid> pid = task.process->tgid;
    kernel.exit_group(task, 0);
    if (pid->process && pid->process->zombie) reap(*pid->process);
  }
  void reap(core::Process& zombie) {
    if (zombie.parent == &machine.world()) {
      kernel.reap_by_world(zombie);
      return;
    }
    sim::WaitResult result;
    const auto nr = zombie.tgid->nr(*zombie.parent->ns());
    const long r = kernel.wait4(*zombie.parent->living_thread(), nr,
                                sim::kWaitAll | sim::kWaitNohang, &result);
    CKPT_ASSERT(r > 0);
  }
  format::Image image() {
    auto result = image_of(machine, *root);
    if (result.has_error()) throw std::runtime_error(result.error().message());
    return std::move(result).value();
  }
};

// What validate() has against an image, which must be damage; or "valid".
inline std::string verdict(const format::Image& image) {
  const Status status = validate(image);
  if (!status.has_error()) return "valid";
  CKPT_ASSERT(status.error().kind == ErrorKind::damaged);
  return status.error().message();
}

// The error of a rehearsal, or "".
inline std::string failure(const format::Image& image) {
  const auto r = rehearse(image);
  return r ? std::string() : r.error().message();
}

inline std::string plan_text(const format::Image& image) {
  const auto plan = make_plan(image);
  return plan ? print_plan(image, *plan) : plan.error().message();
}

}  // namespace ckpt::restart
