#include "cli/live_tree.h"

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "cli/for_ever.h"

namespace ckpt::cli {

namespace {

constexpr int kAttempts = 200;             // while calls made for a killed ckpt come to their end
constexpr long kPause = 5 * 1000 * 1000L;  // nanoseconds between two

Error not_checkpointable(const Console& console, const std::vector<host::Obstacle>& obstacles) {
  if (obstacles.size() > 1)
    for (const host::Obstacle& o : obstacles) console.note("not checkpointable: " + o.text());
  const host::Obstacle& first = obstacles.front();
  if (obstacles.size() > 1)
    return cannot("cannot checkpoint the processes",
                  count_of(obstacles.size(), "obstacle") + ", the first: " + first.text(),
                  "they go on as before; --no-memory takes an image without memory", EBUSY);
  return cannot("cannot checkpoint the processes", first.text(),
                "they go on as before; --no-memory takes an image without memory", EBUSY);
}

}  // namespace

Result<std::unique_ptr<LiveTree>> LiveTree::capture(const Console& console, pid_t pid,
                                                    bool to_be_held,
                                                    const host::GatherOptions& options,
                                                    core::Trace* trace) {
  for (int attempt = 1;; ++attempt) {
    std::unique_ptr<LiveTree> live(new LiveTree);
    CKPT_TRY(live->tree_, host::FrozenTree::freeze(pid));
    if (to_be_held && live->tree_->snapshot().contains_self)
      return cannot("cannot stop the processes", "ckpt itself is one of them",
                    "use --leave-running, or call ckpt from outside of the tree", EDEADLK);
    if (trace) live->tree_->trace_to(*trace);
    auto bodies = host::Bodies::gather(*live->tree_, options);
    if (bodies.has_error()) {
      if (bodies.error().errno_value != EAGAIN || attempt == kAttempts) return bodies.error();
      live.reset();
      const timespec pause{0, kPause};
      ::nanosleep(&pause, nullptr);
      continue;
    }
    live->bodies_ = std::move(*bodies);
    if (!live->bodies_->obstacles().empty())
      return not_checkpointable(console, live->bodies_->obstacles());
    for (const std::string& text : live->bodies_->warnings()) console.note("warning: " + text);
    return live;
  }
}

Result<DumpSource> LiveTree::source(const Console& console) {
  const host::TreeSnapshot& snapshot = tree_->snapshot();
  const bool has_terminal =
      std::any_of(snapshot.files.begin(), snapshot.files.end(),
                  [](const host::OpenFile& f) { return f.type == host::FdType::tty; });
  const bool has_leader = std::any_of(
      snapshot.processes.begin(), snapshot.processes.end(),
      [&](const host::ProcessSnapshot& p) { return p.pid == snapshot.processes.front().sid; });
  if (has_terminal && !has_leader)
    console.note("a job of a terminal whose session goes on: restore it with --shell-job");
  CKPT_TRY(DumpSource source, mirrored(console, snapshot));
  CKPT_CHECK(bodies_->complete(*source.root));
  source.bodies = bodies_.get();
  return source;
}

std::size_t LiveTree::leave_stopped() {
  bodies_.reset();
  return tree_->thaw_stopped();
}

std::size_t LiveTree::end() {
  tree_->kill();
  bodies_->abandon();
  for_ever(std::move(bodies_));
  tree_->await_ends();
  return tree_->snapshot().processes.size();
}

}  // namespace ckpt::cli
