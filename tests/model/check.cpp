#include "tests/model/check.h"

#include "core/checkpoint.h"
#include "format/stream.h"
#include "restart/check_plan.h"
#include "restart/compare.h"
#include "restart/forest.h"
#include "restart/planner.h"
#include "restart/print_plan.h"
#include "restart/sim_executor.h"
#include "restart/validate.h"
#include "tests/model/guard.h"

namespace ckpt::model {

using format::Image;

namespace {

Result<Image> taken(core::Machine& machine, core::Process& root, std::optional<format::Mode> mode) {
  format::MemoryRecords records;
  core::CheckpointOptions options;
  options.mode = mode;
  CKPT_CHECK(core::checkpoint(machine, root, options, records));
  format::MemoryRecordSource source(records.bytes);
  return format::read_image(source);
}

}  // namespace

Result<Image> image_of(World& world) {
  return taken(world.machine(), world.root(), {});
}

const char* outcome_name(Outcome outcome) {
  static constexpr const char* kNames[kOutcomes] = {"restored",  "broken",     "invalid",
                                                    "refused",   "wrong plan", "failed",
                                                    "different", "crashed",    "unfit"};
  return kNames[static_cast<std::size_t>(outcome)];
}

namespace {
Verdict check_unguarded(const Image& image) {
  if (const Status s = restart::validate(image); !s) return {Outcome::invalid, s.error().message()};
  const Result<restart::Plan> plan = restart::make_plan(image);
  if (!plan) return {Outcome::refused, plan.error().message()};
  if (const Status s = restart::check_plan(image, *plan); !s)
    return {Outcome::wrong_plan, s.error().message()};
  const Result<restart::Executed> done = restart::execute(image, *plan);
  if (!done) return {Outcome::failed, done.error().message()};
  const auto mode = static_cast<format::Mode>(std::uint32_t{image.header.mode});
  const Result<Image> restored = taken(*done->machine, *done->root, mode);
  if (!restored) return {Outcome::failed, restored.error().message()};
  std::string differences;
  for (const restart::Difference& d : restart::compare(image, *restored, 3))
    differences += (differences.empty() ? "" : "; ") + d.text();
  if (!differences.empty()) return {Outcome::different, differences};
  return {};
}

}  // namespace

Verdict check_image(const Image& image) {
  Verdict verdict;
  if (!survives([&] { verdict = check_unguarded(image); }))
    return {Outcome::crashed, "an assert failed, or recursion had no end"};
  return verdict;
}

std::variant<Image, Verdict> image_or_verdict(World& world) {
  if (std::string broken = broken_invariant(world.machine()); !broken.empty())
    return Verdict{Outcome::broken, std::move(broken)};
  if (std::string why = hangs_on_outside(world); !why.empty())
    return Verdict{Outcome::unfit, std::move(why)};
  Result<Image> image = image_of(world);
  if (!image) return Verdict{Outcome::broken, image.error().message()};
  return std::move(*image);
}

Verdict check_world(World& world) {
  const auto image = image_or_verdict(world);
  if (const auto* verdict = std::get_if<Verdict>(&image)) return *verdict;
  return check_image(std::get<Image>(image));
}

std::string kind_of(const std::string& reason) {
  std::string kind;
  for (const char c : reason) {
    const bool digit = (c >= '0' && c <= '9') || (c == '/' && !kind.empty() && kind.back() == '#');
    if (!digit)
      kind += c;
    else if (kind.empty() || kind.back() != '#')
      kind += '#';
  }
  return kind;
}

std::vector<std::string> tree_text(const Image& image) {
  const Result<restart::Forest> forest = restart::make_forest(image);
  if (!forest) return {forest.error().message()};
  const restart::Forest& f = *forest;
  std::vector<std::string> lines;
  for (std::uint32_t i = 0; i < f.size(); ++i) {
    std::string s;
    for (std::uint32_t p = f.parent[i]; p != restart::kNoTask; p = f.parent[p]) s += "  ";
    s += f.is_leader(i) ? "" : "+ thread ";
    s += restart::numbers_text(image, f.pid[i]);
    s += " pgrp " + restart::id_text(image, f.pgid[i]);
    s += " session " + restart::id_text(image, f.sid[i]);
    if (image.zombie(i))
      s += i + 1 < f.size() && f.leader[i + 1] == i ? ", dead leader" : ", zombie";
    if (image.tasks[i].state == format::kTaskStopped) s += ", stopped";
    const format::TaskKin kin = image.kin_of(i);
    if (kin.subreaper) s += ", subreaper";
    if (kin.exiting) s += ", exiting";
    if (kin.child_ns) {
      const std::int32_t ns = kin.child_ns - image.namespaces[0].objref;
      s += ", pid_for_children " + std::to_string(ns) + " (state " +
           std::to_string(image.namespaces[static_cast<std::size_t>(ns)].state) + ")";
    }
    if (!image.pid_ns.empty()) s += ", namespace " + std::to_string(image.ns_of(f.pid[i]));
    lines.push_back(std::move(s));
  }
  return lines;
}

std::string report(Start start, const History& history) {
  std::string s;
  const auto add = [&](const std::string& line) { s += "    " + line + '\n'; };
  s += std::string("  history (") + start_name(start) + "):\n";
  for (const std::string& line : strace_text(start, history)) add(line);
  World world(start, history);
  const Verdict verdict = check_world(world);
  if (const Result<Image> image = image_of(world)) {
    s += "  tree:\n";
    for (const std::string& line : tree_text(*image)) add(line);
    const bool is_planned =
        verdict.outcome != Outcome::invalid && survives([&] {
          const Result<restart::Plan> plan = restart::make_plan(*image);
          if (!plan) return;
          s += "  plan:\n";
          restart::print_plan(*image, *plan, [&](std::string_view l) { add(std::string(l)); });
        });
    if (!is_planned) s += "  no plan\n";
  }
  s += std::string("  ") + outcome_name(verdict.outcome) + ": " + verdict.reason + '\n';
  return s;
}

}  // namespace ckpt::model
