// A made-up history in the words of strace.
#include "tests/model/call.h"

namespace ckpt::model {

using core::Nr;
using core::Pid;
using core::Process;
using core::Task;

namespace {

class Writer {
 public:
  explicit Writer(Start start) : world_(start) {}

  std::vector<std::string> run(const History& history) {
    if (world_.start() == Start::container) line(1, "setsid() = 1");
    for (const Call& call : history) {
      const std::vector<Nr> before = living();
      const std::string text = words(call);
      const long r = world_.apply(call);
      if (r < 0) continue;
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        line(call.caller, text.substr(at, end - at) +
                              (end < text.size() ? std::string() : " = " + result(call, r)));
        at = end + 1;
      }
      endings(call, before);
    }
    return std::move(lines_);
  }

 private:
  void line(Nr caller, const std::string& text) {
    lines_.push_back(std::to_string(caller) + "  " + text);
  }
  std::vector<Nr> living() {
    std::vector<Nr> list;
    core::for_each_process(world_.machine().world(), [&](Process& p) {
      if (&p == &world_.machine().world() || p.zombie || p.exiting) return;
      for (const Task& t : p.threads) list.push_back(t.pid->nr(world_.machine().root_ns()));
    });
    return list;
  }
  // A number as the caller has it, with the translation that --pidns-translation adds.
  std::string number(Nr outer, Nr inner) const {
    std::string s = std::to_string(inner);
    if (inner != outer) s += " /* " + std::to_string(outer) + " in strace's PID NS */";
    return s;
  }
  std::string seen(const Call& call, Nr nr) {
    const Task* caller = world_.task(call.caller);
    const Pid* pid = world_.pid(nr);
    return number(nr, caller && pid ? pid->nr(*caller->process->ns()) : 0);
  }

  std::string words(const Call& call) {
    const auto clone = [](const char* flags) {
      return std::string("clone(child_stack=NULL, flags=") + flags + "SIGCHLD)";
    };
    switch (call.verb) {
      case Verb::fork:
        return clone("");
      case Verb::clone_parent:
        return clone("CLONE_PARENT|");
      case Verb::clone_newpid:
        return clone("CLONE_NEWPID|");
      case Verb::fork_usr1:
        return "clone(child_stack=NULL, flags=SIGUSR1)";
      case Verb::thread:
        return "clone(child_stack=0x7f0000000000, "
               "flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD)";
      case Verb::setsid:
        return "setsid()";
      case Verb::setpgid:
        return "setpgid(" + seen(call, call.a) + ", " + seen(call, call.b) + ")";
      case Verb::exit: {
        const Task* caller = world_.task(call.caller);
        return caller && caller->process->single_threaded() ? "exit_group(0)" : "exit(0)";
      }
      case Verb::wait:
        return "wait4(" + seen(call, call.a) +
               ", [{WIFEXITED(s) && WEXITSTATUS(s) == 0}], WNOHANG|__WALL, NULL)";
      case Verb::subreaper_on:
        return "prctl(PR_SET_CHILD_SUBREAPER, 1)";
      case Verb::subreaper_off:
        return "prctl(PR_SET_CHILD_SUBREAPER, 0)";
      case Verb::unshare:
        return "unshare(CLONE_NEWPID)";
      case Verb::setns:
        return "pidfd_open(" + seen(call, call.a) + ", 0) = 3\nsetns(3, CLONE_NEWPID)";
      case Verb::stop:
        return "kill(" + seen(call, call.a) + ", SIGSTOP)";
      case Verb::cont:
        return "kill(" + seen(call, call.a) + ", SIGCONT)";
      case Verb::execve:
        return "execve(\"/bin/true\", [\"true\"], [])";
    }
    return {};
  }

  std::string result(const Call& call, long r) {
    switch (call.verb) {
      case Verb::exit:
        return "?";
      case Verb::fork:
      case Verb::clone_parent:
      case Verb::clone_newpid:
      case Verb::fork_usr1:
      case Verb::thread:
        return number(world_.machine().root_ns().last_nr, static_cast<Nr>(r));
      case Verb::setsid:
        return number(call.caller, static_cast<Nr>(r));
      case Verb::wait:
        return number(call.a, static_cast<Nr>(r));
      default:
        return std::to_string(r);
    }
  }

  // Who has ended by the call. A leader with living threads is told of when these have ended.
  void endings(const Call& call, const std::vector<Nr>& before) {
    const std::vector<Nr> after = living();
    for (const Nr nr : before) {
      if (std::find(after.begin(), after.end(), nr) != after.end()) continue;
      line(nr, nr == call.caller ? "+++ exited with 0 +++" : "+++ killed by SIGKILL +++");
    }
  }

  World world_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> strace_text(Start start, const History& history) {
  return Writer(start).run(settled(start, history));
}

History settled(Start start, const History& history) {
  World world(start);
  History done;
  const auto number = [&](std::uint16_t name) {
    const Pid* pid = name ? world.pid(name) : nullptr;
    return static_cast<std::uint16_t>(pid ? pid->nr(world.machine().root_ns()) : 0);
  };
  for (const Call& call : history) {
    Call c = call;
    c.caller = number(call.caller);
    c.a = is_birth(call.verb) ? 0 : number(call.a);
    c.b = number(call.b);
    if (world.apply(call) >= 0) done.push_back(c);
  }
  return done;
}

std::string short_text(const History& history) {
  std::string s;
  for (const Call& call : history) {
    s += (s.empty() ? "" : "; ") + std::to_string(call.caller) + ' ' + verb_name(call.verb);
    if (call.a) s += ' ' + std::to_string(call.a);
    if (call.b) s += ' ' + std::to_string(call.b);
  }
  return s;
}

}  // namespace ckpt::model
