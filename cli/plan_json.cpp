#include "cli/plan_json.h"

#include "format/describe.h"
#include "restart/print_plan.h"

namespace ckpt::cli {

namespace {

using restart::Actor;
using restart::Op;

const char* name_of(Op op) {
  switch (op) {
    case Op::fork:
      return "fork";
    case Op::thread:
      return "thread";
    case Op::setsid:
      return "setsid";
    case Op::setpgid:
      return "setpgid";
    case Op::enter_ns:
      return "enter_ns";
    case Op::unshare_ns:
      return "unshare_ns";
    case Op::subreaper_on:
      return "subreaper_on";
    case Op::subreaper_off:
      return "subreaper_off";
    case Op::exit:
      return "exit";
    case Op::reap:
      return "reap";
    case Op::stop:
      return "stop";
    case Op::exec:
      break;
  }
  return "exec";
}

class Writer {
 public:
  Writer(const format::Image& image, const restart::Plan& plan) : image_(image), plan_(plan) {}

  [[nodiscard]] boost::json::object step(std::size_t i) const {
    const restart::Step& s = plan_.steps[i];
    boost::json::object out{{"op", name_of(s.op)}, {"actor", actor(s.actor)}};
    const bool has_child =
        s.op == Op::fork || s.op == Op::thread || s.op == Op::setpgid || s.op == Op::reap;
    out["child"] = has_child ? actor(s.child) : boost::json::value();
    out["namespace"] = nullptr;
    if (s.op == Op::fork) out["namespace"] = namespace_of(s.child);
    if (s.op == Op::enter_ns || s.op == Op::unshare_ns) out["namespace"] = s.arg;
    if (s.op == Op::setpgid)
      out["group"] = s.arg == restart::kRestorersGroup ? boost::json::value() : numbers(s.arg);
    out["text"] = format::utf8(restart::step_text(image_, plan_, i));
    return out;
  }

 private:
  [[nodiscard]] boost::json::array numbers(std::size_t pid) const {
    const auto all = image_.pids.numbers(pid);
    return boost::json::array(all.begin(), all.end());
  }
  // "restorer"; the numbers of a task or ghost; the index, as text, of a helper without any.
  [[nodiscard]] boost::json::value actor(Actor a) const {
    if (a.kind() == Actor::kTask) return numbers(image_.pids.index(image_.tree[a.index()].pid));
    if (a.kind() == Actor::kRestorer) return "restorer";
    const restart::Ghost& g = plan_.ghosts[a.index()];
    if (g.pid != restart::Ghost::kNone) return numbers(g.pid);
    return boost::json::value("helper " + std::to_string(a.index() + 1));
  }
  [[nodiscard]] std::uint32_t namespace_of(Actor a) const {
    if (a.kind() == Actor::kGhost) return plan_.ghosts[a.index()].ns;
    return image_.ns_of(image_.pids.index(image_.tree[a.index()].pid));
  }

  const format::Image& image_;
  const restart::Plan& plan_;
};

}  // namespace

boost::json::object plan_json(const format::Image& image, const restart::Plan& plan) {
  const Writer writer(image, plan);
  boost::json::array steps;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) steps.push_back(writer.step(i));
  boost::json::object out;
  out["steps"] = std::move(steps);
  return out;
}

void add_conflicts(boost::json::object& to, const std::vector<Conflict>& conflicts,
                   const std::vector<std::string>& changed) {
  boost::json::array list;
  for (const Conflict& c : conflicts)
    list.push_back(boost::json::object{
        {"kind", c.kind}, {"what", format::utf8(c.what)}, {"hint", format::utf8(c.hint)}});
  to["conflicts"] = std::move(list);
  boost::json::array files;
  for (const std::string& line : changed) files.emplace_back(format::utf8(line));
  to["changed_files"] = std::move(files);
}

}  // namespace ckpt::cli
