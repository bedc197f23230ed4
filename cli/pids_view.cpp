// inspect --pids: the pid objects, their numbers at every level, and who uses them as what.
#include <algorithm>

#include "cli/views.h"

namespace ckpt::cli {

namespace {

bool used_by(const ImageFacts& facts, const ProcessFacts& p, std::uint32_t pid) {
  const format::TreeEntry& e = facts.leader(p);
  for (const std::int32_t ref : {std::int32_t{e.tgid}, std::int32_t{e.pgid}, std::int32_t{e.sid}})
    if (facts.pid_index(ref) == pid) return true;
  for (std::uint32_t i = 0; i < p.threads; ++i)
    if (facts.pid_index(facts.image.tree[p.first + i].pid) == pid) return true;
  return false;
}

std::string role(const Style& style, const ImageFacts& facts, std::uint32_t pid) {
  const PidUse& use = facts.uses[pid];
  std::string s;
  const auto add = [&](const std::string& what) { s += (s.empty() ? "" : ", ") + what; };
  if (use.ghost()) add(style.magenta("ghost"));
  if (use.process != kNone) {
    const ProcessFacts& p = facts.processes[use.process];
    add("process " + printable(facts.image.comm(p.first)));
  } else if (use.task != kNone) {
    const std::int32_t tgid = facts.image.tree[use.task].tgid;
    add("thread " + printable(facts.image.comm(use.task)) + " of " +
        (facts.pid_index(tgid) == kNone ? "?" : facts.numbers(facts.pid_index(tgid))));
  }
  if (use.in_group > 0) add("group of " + std::to_string(use.in_group));
  if (use.in_session > 0) add("session of " + std::to_string(use.in_session));
  return s;
}

}  // namespace

void print_pids(Out& out, const Style& style, const ImageFacts& facts, const ProcessFacts* only) {
  const format::Image& image = facts.image;
  std::size_t number_width = 7;
  const std::size_t ref_width =
      std::max<std::size_t>(3, std::to_string(image.pids.first_ref() + image.pids.size()).size());
  const auto shown = [&](std::uint32_t i) { return !only || used_by(facts, *only, i); };
  for (std::uint32_t i = 0; i < image.pids.size(); ++i)
    if (shown(i)) number_width = std::max(number_width, facts.numbers(i).size());
  const bool nested = image.namespaces.size() > 1;
  out << style.bold(pad_left("REF", ref_width) + "  " + pad_right("NUMBERS", number_width) +
                    (nested ? "  NAMESPACE" : "") + "  USED AS")
      << "\n";
  for (std::uint32_t i = 0; i < image.pids.size(); ++i) {
    if (!shown(i)) continue;
    out << pad_left(std::to_string(image.pids.first_ref() + static_cast<std::int64_t>(i)),
                    ref_width)
        << "  " << pad_right(facts.numbers(i), number_width)
        << (nested ? "  " + pad_right(std::to_string(image.ns_of(i)), 9) : "") << "  "
        << role(style, facts, i) << "\n";
  }
}

}  // namespace ckpt::cli
