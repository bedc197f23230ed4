#include "tests/model/exhaustive.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "tests/model/guard.h"

namespace ckpt::model {

namespace {

constexpr std::uint32_t kSubreaper = bit(Verb::subreaper_on) | bit(Verb::subreaper_off);
// What the requirement names, setns and CLONE_NEWPID besides.
constexpr std::uint32_t kAll =
    kAllVerbs & ~(bit(Verb::stop) | bit(Verb::cont) | bit(Verb::fork_usr1) | bit(Verb::execve));
// Fewer verbs go deeper.
constexpr std::uint32_t kTree = bit(Verb::fork) | bit(Verb::clone_parent) | bit(Verb::setsid) |
                                bit(Verb::setpgid) | bit(Verb::exit) | bit(Verb::wait) | kSubreaper;
constexpr std::uint32_t kSessions =
    bit(Verb::fork) | bit(Verb::setsid) | bit(Verb::exit) | kSubreaper;
constexpr std::uint32_t kNamespaces = bit(Verb::fork) | bit(Verb::unshare) | bit(Verb::setns) |
                                      bit(Verb::exit) | bit(Verb::wait) | bit(Verb::setsid) |
                                      bit(Verb::thread);
constexpr std::uint32_t kGroups = bit(Verb::fork) | bit(Verb::clone_newpid) | bit(Verb::setpgid) |
                                  bit(Verb::exit) | bit(Verb::wait);

constexpr std::uint32_t kSignals =
    bit(Verb::fork) | bit(Verb::fork_usr1) | bit(Verb::clone_parent) | bit(Verb::clone_newpid) |
    bit(Verb::setsid) | bit(Verb::exit) | bit(Verb::wait) | bit(Verb::execve);

std::string verbs_text(std::uint32_t verbs) {
  std::string s;
  for (std::size_t i = 0; i < kVerbs; ++i)
    if (verbs >> i & 1) s += (s.empty() ? "" : " ") + std::string(verb_name(static_cast<Verb>(i)));
  return s;
}

}  // namespace

std::vector<Bounds> bounds_of(Effort effort) {
  struct Row {
    std::uint32_t verbs;
    unsigned brief, normal, thorough;
  };
  static constexpr Row kRows[] = {{kAll, 4, 6, 7},        {kTree, 5, 7, 8},   {kSessions, 5, 8, 9},
                                  {kNamespaces, 4, 7, 8}, {kGroups, 4, 6, 7}, {kSignals, 4, 5, 7}};
  std::vector<Bounds> list;
  for (const Row& row : kRows) {
    for (const Start start : kStarts) {
      const unsigned calls = effort == Effort::brief    ? row.brief
                             : effort == Effort::normal ? row.normal
                                                        : row.thorough;
      list.push_back({start, row.verbs, calls, 99});
    }
  }
  return list;
}

namespace {
std::string report(const Failures& f) {
  std::string s = short_text(f.history) + '\n';
  if (!survives([&] { s += report(f.start, f.history); }))
    s += std::string("  ") + start_name(f.start) + ": " + f.reason + '\n';
  return s;
}
}  // namespace

void print_failures(const Counts& counts, std::size_t limit) {
  std::vector<const Failures*> list;
  for (const auto& [kind, f] : counts.failures) list.push_back(&f);
  std::stable_sort(list.begin(), list.end(), [](const Failures* a, const Failures* b) {
    return a->history.size() < b->history.size();
  });
  for (std::size_t i = 0; i < list.size() && i < limit; ++i)
    std::printf("\n%llu machines like this one, after %zu calls:\n%s",
                static_cast<unsigned long long>(list[i]->count), list[i]->history.size(),
                report(*list[i]).c_str());
  if (list.size() > limit) std::printf("\n%zu further kinds of failure\n", list.size() - limit);
}

int run_exhaustive(const std::vector<Bounds>& list, bool every_length) {
  using Clock = std::chrono::steady_clock;
  Counts all;
  for (const Bounds& b : list) {
    const auto start = Clock::now();
    std::printf("%s, up to %u calls of %s\n", start_name(b.start), b.calls,
                verbs_text(b.verbs).c_str());
    const Counts counts = enumerate(b, [&](unsigned length, const Counts& so_far) {
      if (every_length && length < b.calls)
        std::printf("  %2u: %s\n", length, text(so_far).c_str());
      std::fflush(stdout);
    });
    std::printf("  %s (%.1f s)\n", text(counts).c_str(),
                std::chrono::duration<double>(Clock::now() - start).count());
    std::fflush(stdout);
    all.add(counts);
  }
  print_failures(all, 50);
  std::printf("\n[PLAN-1] in all (runs overlap): %s; %llu calls refused with an errno\n",
              text(all).c_str(), static_cast<unsigned long long>(all.errors));
  return all.failed() == 0 ? 0 : 1;
}

}  // namespace ckpt::model
