#include "restart/print_plan.h"

#include <array>

#include "restart/forest.h"

namespace ckpt::restart {

using format::Image;

namespace {

const char* heading(Phase phase) {
  switch (phase) {
    case Phase::create:
      return "processes and sessions";
    case Phase::groups:
      return "process groups";
    case Phase::threads:
      return "threads";
    case Phase::namespaces:
      return "namespaces for children";
    case Phase::ghosts:
      return "ghosts end";
    case Phase::zombies:
      return "zombies, dead leaders, dying inits";
    case Phase::subreapers:
      return "subreapers";
    case Phase::stops:
      return "stopped tasks";
    case Phase::done:
      break;
  }
  return "";
}

class Printer {
 public:
  Printer(const Image& image, const Plan& plan) : image_(image), plan_(plan) {}

  [[nodiscard]] std::string step(const Step& s) const {
    const std::string who = actor(s.actor);
    switch (s.op) {
      case Op::fork:
        return who + fork(s);
      case Op::thread:
        return who + " makes the thread " + actor(s.child);
      case Op::setsid:
        return who + " setsid";
      case Op::setpgid:
        return setpgid(s);
      case Op::enter_ns:
        return who + " sets " + ns(s.arg) + " for its children";
      case Op::unshare_ns:
        return who + " unshares: " + ns(s.arg) + " is for its children";
      case Op::subreaper_on:
        return who + " is a subreaper";
      case Op::subreaper_off:
        return who + " is a subreaper no more";
      case Op::exit:
        return who + exit(s);
      case Op::reap:
        return who + " reaps " + actor(s.child);
      case Op::stop:
        return who + " stops";
      case Op::exec:
        return who + " calls execve: its exit signal is SIGCHLD";
    }
    return {};
  }

 private:
  [[nodiscard]] std::size_t pid(std::size_t task) const {
    return image_.pids.index(image_.tree[task].pid);
  }
  [[nodiscard]] std::string task(std::size_t i) const {
    std::string s = numbers_text(image_, pid(i));
    s += " (";
    s += image_.comm(i);
    return s + ')';
  }
  [[nodiscard]] std::string actor(Actor a) const {
    switch (a.kind()) {
      case Actor::kTask:
        return task(a.index());
      case Actor::kGhost: {
        const Ghost& g = plan_.ghosts[a.index()];
        return g.pid == Ghost::kNone ? "helper " + std::to_string(a.index() + 1)
                                     : "ghost " + numbers_text(image_, g.pid);
      }
      case Actor::kRestorer:
        break;
    }
    return "restorer";
  }
  [[nodiscard]] static std::string ns(std::uint32_t n) {
    return n == 0 ? "the root namespace" : "namespace " + std::to_string(n);
  }

  [[nodiscard]] std::string fork(const Step& s) const {
    std::string text = s.flags & kForkParent ? " makes its sibling " : " forks ";
    text += actor(s.child);
    if (s.flags & kForkNewNs) text += " as the init of new " + ns(s.arg);
    if (s.child.kind() == Actor::kGhost) return text + ": " + why(plan_.ghosts[s.child.index()]);
    switch (s.birth) {
      case Birth::before:
        return text + ", before its setsid";
      case Birth::sibling:
        return text + ", in its session";
      case Birth::placeholder:
        return text + ", an orphan to be";
      case Birth::early:
        return text + ", before its turn";
      case Birth::inherited:
      case Birth::leader:
      case Birth::none:
        break;
    }
    return text;
  }

  [[nodiscard]] std::string why(const Ghost& g) const {
    switch (g.why) {
      case Why::session:
        return "session " + numbers_text(image_, g.pid) + " has members, its leader is dead";
      case Why::group:
        return "group " + numbers_text(image_, g.pid) + " has members, its leader is dead";
      case Why::placeholder:
        return "to leave " + task(g.what) + " as an orphan";
      case Why::early:
        return "to hold " + task(g.what) + " until its turn among its siblings";
      case Why::session_holder:
        return "to hold ghost " + numbers_text(image_, g.what) + " until its siblings' turn";
      case Why::keeper:
        return "to keep group " + numbers_text(image_, g.what) + " while its founder moves on";
      case Why::carrier:
        return "to carry " + task(g.what) + " where it is born";
      case Why::group_carrier:
        return "to carry ghost " + numbers_text(image_, g.what) + " where it is born";
      case Why::deputy:
        return "to make " + task(g.what) + " where its parent was";
      case Why::signal:
        return "to make siblings of " + numbers_text(image_, g.what) + " with another exit signal";
      case Why::init:
        return "init of " + ns(g.what) + ", which is dead";
    }
    return {};
  }

  [[nodiscard]] std::string setpgid(const Step& s) const {
    const std::size_t own =
        s.child.kind() == Actor::kTask ? pid(s.child.index()) : plan_.ghosts[s.child.index()].pid;
    std::string text = actor(s.actor);
    if (!(s.actor == s.child)) text += " puts " + actor(s.child);
    if (s.arg == kRestorersGroup)
      return text + (s.actor == s.child ? " joins" : " into") + " the restorer's group";
    if (s.arg == own)
      return text + (s.actor == s.child ? " founds its group" : " into its own group");
    return text + (s.actor == s.child ? " joins group " : " into group ") +
           numbers_text(image_, s.arg);
  }

  [[nodiscard]] std::string exit(const Step& s) const {
    if (s.actor.kind() == Actor::kGhost) {
      const Ghost& g = plan_.ghosts[s.actor.index()];
      if (g.why == Why::placeholder || g.why == Why::early)
        return " exits, and " + task(g.what) + " floats up";
      return " exits";
    }
    const format::Task& t = image_.tasks[s.actor.index()];
    if (image_.kin_of(s.actor.index()).exiting != 0) return " exits, and goes on dying";
    const std::size_t next = s.actor.index() + 1;
    const bool threads =
        next < image_.tree.size() && image_.tree[next].tgid == image_.tree[s.actor.index()].pid;
    if (threads) return " exits; its threads live on";
    const std::uint32_t code = t.exit_code;
    if ((code & 0x7f) != 0) return " is killed by signal " + std::to_string(code & 0x7f);
    return " exits with status " + std::to_string(code >> 8 & 0xff);
  }

  const Image& image_;
  const Plan& plan_;
};

}  // namespace

std::string step_text(const Image& image, const Plan& plan, std::size_t step) {
  return Printer(image, plan).step(plan.steps[step]);
}

void print_plan(const Image& image, const Plan& plan,
                const std::function<void(std::string_view)>& line) {
  const Printer printer(image, plan);
  std::size_t ghosts = 0;
  for (const Ghost& g : plan.ghosts) ghosts += g.pid != Ghost::kNone;
  const auto counted = [](std::size_t n, const char* what) {
    return std::to_string(n) + ' ' + what + (n == 1 ? "" : "s");
  };
  std::string text = counted(image.tree.size(), "task") + ", " + counted(ghosts, "ghost") + ", " +
                     counted(plan.ghosts.size() - ghosts, "helper") + ", " +
                     counted(plan.steps.size(), "step");
  line(text);
  const std::size_t width = std::to_string(plan.steps.size()).size();
  for (std::size_t p = 0; p < static_cast<std::size_t>(Phase::done); ++p) {
    if (plan.phase[p] == plan.phase[p + 1]) continue;
    text = std::string("-- ") + heading(static_cast<Phase>(p));
    line(text);
    for (std::size_t i = plan.phase[p]; i < plan.phase[p + 1]; ++i) {
      text = std::to_string(i + 1);
      text.insert(0, width - text.size(), ' ');
      text += "  " + printer.step(plan.steps[i]);
      line(text);
    }
  }
}

std::string print_plan(const Image& image, const Plan& plan) {
  std::string all;
  print_plan(image, plan, [&](std::string_view line) {
    all += line;
    all += '\n';
  });
  return all;
}

}  // namespace ckpt::restart
