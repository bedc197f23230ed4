#include "restart/rehearse.h"

#include "core/checkpoint.h"
#include "format/stream.h"
#include "restart/check_plan.h"
#include "restart/compare.h"
#include "restart/planner.h"
#include "restart/sim_executor.h"
#include "restart/validate.h"

namespace ckpt::restart {

using format::Image;

namespace {

// The record stream of the machine that the plan makes.
Status checkpoint_of(const Image& image, Executed& done, format::MemoryRecords& out) {
  core::CheckpointOptions options;
  options.mode = static_cast<format::Mode>(std::uint32_t{image.header.mode});
  options.origin.source = static_cast<format::Source>(std::uint32_t{image.header.source});
  options.origin.time = image.header.time;
  options.origin.arch_id = image.header.arch_id;
  options.origin.major = image.header.major;
  options.origin.minor = image.header.minor;
  options.origin.patch = image.header.patch;
  options.origin.release = image.release;
  options.origin.version = image.version;
  options.origin.machine = image.machine;
  options.origin.nodename = image.nodename;
  // About what a task's records take, so that the buffer need not grow by copying.
  out.bytes.reserve(image.tree.size() * 170 + 4096);
  return core::checkpoint(*done.machine, *done.root, options, out);
}

Status reopened(const core::Process& process) {
  const int error = process.files->reopen_all();
  if (error == 0) return {};
  return cannot("cannot reopen files", "process " + core::to_string(*process.tgid), {}, -error);
}

Error unlike(const std::vector<Difference>& differences) {
  std::string detail;
  for (const Difference& d : differences) detail += (detail.empty() ? "" : "; ") + d.text();
  return cannot("the restore was refused before it started",
                "its rehearsal gave another machine than the image holds: " + detail,
                "this is a fault of ckpt; nothing was done");
}

}  // namespace

Result<Rehearsal> rehearse(const Image& image, const RehearsalOptions& options) {
  CKPT_CHECK(validate(image));
  Rehearsal rehearsal;
  format::MemoryRecords records;
  {
    Executed done;
    {
      CKPT_TRY(const Plan plan, make_plan(image));
      CKPT_CHECK(check_plan(image, plan));
      if (options.on_plan) options.on_plan(plan);
      rehearsal.steps = plan.steps.size();
      for (const Ghost& g : plan.ghosts) rehearsal.helpers += g.pid == Ghost::kNone ? 1 : 0;
      CKPT_TRY(done, execute(image, plan, options.on_progress, options.server_for));
    }
    rehearsal.ghosts = std::move(done.ghosts);
    if (options.on_machine) options.on_machine(*done.root);
    if (options.eager_files)
      for (const core::Process* p : done.machine->all())
        if (p->files) CKPT_CHECK(reopened(*p));
    rehearsal.reopens = done.machine->files().counts.reopens;
    CKPT_CHECK(checkpoint_of(image, done, records));
  }
  format::MemoryRecordSource source(records.bytes);
  CKPT_TRY(rehearsal.restored, format::read_image(source));
  records.bytes = {};
  if (const auto differences = compare(image, rehearsal.restored, 3, Scope::model);
      !differences.empty())
    return unlike(differences);
  return rehearsal;
}

}  // namespace ckpt::restart
