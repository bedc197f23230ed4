// Where processes execute: the node before a line's pid, and migrate.
#include <algorithm>

#include "core/sim/history_replay.h"
#include "core/sim/strace_scan.h"

namespace ckpt::sim::history {

namespace {
constexpr const char* kHome = "home";  // where all are that nothing is said of
}  // namespace

// None: it cannot be a node's name, or there are too many. Whoever is there already is at home.
std::optional<std::uint16_t> Replay::node_called(std::string_view name) {
  if (!std::all_of(name.begin(), name.end(), is_node_char)) return std::nullopt;
  if (m_.nodes().empty() && history_.root) m_.node(kHome);
  return m_.node(name);
}

// A process that was there before its first line starts on the node that this line says.
Status Replay::place(Process& process, std::uint32_t actor, std::uint64_t line) {
  const std::uint32_t said = log_.actors[actor].node;
  if (said == 0 && m_.nodes().empty()) return {};
  const auto node = node_called(said ? std::string_view(log_.texts[said]) : kHome);
  if (!node) return error_at(line, "there cannot be a node " + log_.texts[said], kNodeNames);
  process.node = *node;
  return {};
}

// Is the process where its line says? It may be, once a migrate that is in flight has taken effect.
Status Replay::check_node(const Event& event) {
  const Actor& who = log_.actors[event.actor];
  const Task* task = task_of(event.actor);
  const auto current = actors_.find(who.pid);
  if (!task || (current != actors_.end() && current->second != event.actor)) return {};
  if (m_.nodes().empty()) m_.node(kHome);
  const std::string& said = log_.texts[event.value];
  const auto is_there = [&] { return m_.nodes()[task->process->node] == said; };
  const std::set<std::uint32_t> in_flight = in_flight_;
  for (auto it = in_flight.begin(); it != in_flight.end() && !is_there(); ++it) {
    Call& call = log_.calls[*it];
    std::int64_t ignored = 0;
    if (call.op == Op::migrate && call.returned && call.result == 0 && !call.applied &&
        log_.texts[call.text] == said)
      apply(call, &ignored);
  }
  if (is_there()) return {};
  return error_at(event.line,
                  "process " + std::to_string(who.pid) + " is on node " +
                      m_.nodes()[task->process->node] + ", not on " + said + " as its line says",
                  "is migrate(\"" + said +
                      "\") missing before it? A first line's node is where its " +
                      "process starts, " + kHome + " if it has none");
}

// A cluster is one machine for its processes: where they execute changes nothing but that.
bool Replay::do_migrate(Call& call, Task& task, std::int64_t* model) {
  std::vector<Process*> movers;
  const bool in_range = call.a[0] >= -core::kPidMax && call.a[0] <= core::kPidMax;
  *model = call.a[1] < 0 || !in_range
               ? -EINVAL
               : kernel_.find_movers(task, static_cast<Kernel::Movers>(call.a[1]),
                                     static_cast<Nr>(call.a[0]), &movers);
  // Which nodes there were, the log does not tell.
  if (call.result < 0) return *model == call.result || call.result == -EINVAL;
  if (*model != 0) return false;
  const auto node = node_called(log_.texts[call.text]);
  if (!node) return *model = -EINVAL, false;
  call.a[3] = task.process->node;
  for (Process* p : movers) {
    *model = kernel_.leave_files(*p);
    if (*model != 0) return false;
  }
  for (Process* p : movers) p->node = *node;
  return true;
}

}  // namespace ckpt::sim::history
