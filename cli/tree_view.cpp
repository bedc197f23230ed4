// Widths of columns come from one walk over the image, the lines from a second; nothing is kept of
// a line. Indentation is bounded, so that a chain of n processes costs O(n).
#include "cli/tree_view.h"

#include <algorithm>

namespace ckpt::cli {

namespace {

constexpr std::uint32_t kMaxIndent = 24;  // levels that are drawn from the left
constexpr std::uint32_t kDeepIndent = 8;  // of what is deeper: the last levels; the rest by number

struct Marks {
  const char *branch, *last, *pipe, *blank, *ghost, *deep;
};
constexpr Marks kUtf8{"├─ ", "└─ ", "│  ", "   ", "†", "┄ "};
constexpr Marks kAscii{"|- ", "`- ", "|  ", "   ", "*", ".. "};

class TreePrinter {
 public:
  TreePrinter(Out& out, const Style& style, const ImageFacts& facts, const TreeOptions& options)
      : out_(out),
        style_(style),
        facts_(facts),
        options_(options),
        marks_(style.utf8 ? kUtf8 : kAscii) {}

  void print() {
    measure();
    header();
    facts_.for_each(options_.only, [&](const ProcessFacts& p) { line(p); });
    legend();
  }

 private:
  void measure();
  void header();
  void line(const ProcessFacts& p);
  void thread_line(const ProcessFacts& p, std::uint32_t task);
  void legend();
  void ghost_list();
  [[nodiscard]] std::string id(std::int32_t ref);
  [[nodiscard]] std::string indent(const ProcessFacts& p, bool own);
  [[nodiscard]] std::string state(const ProcessFacts& p) const;
  [[nodiscard]] std::string notes(const ProcessFacts& p);
  [[nodiscard]] std::string requests(const ProcessFacts& p, std::uint32_t task) const;
  [[nodiscard]] std::string columns(std::string pid, std::string group, std::string session,
                                    const std::string& state) const;

  Out& out_;
  const Style& style_;
  const ImageFacts& facts_;
  const TreeOptions& options_;
  const Marks& marks_;
  std::size_t pid_width_ = 3, group_width_ = 5, session_width_ = 7;
  bool saw_ghost_ = false, saw_outside_ = false, saw_invisible_ = false, saw_unknown_ = false;
  std::vector<bool> more_;  // at each depth of the present path: does a sibling follow?
};

void TreePrinter::measure() {
  facts_.for_each(options_.only, [&](const ProcessFacts& p) {
    const format::TreeEntry& e = facts_.leader(p);
    for (std::uint32_t i = 0; i < (options_.threads ? p.threads : 1); ++i)
      pid_width_ = std::max(pid_width_, display_width(id(facts_.image.tree[p.first + i].pid)));
    group_width_ = std::max(group_width_, display_width(id(e.pgid)));
    session_width_ = std::max(session_width_, display_width(id(e.sid)));
  });
}

std::string TreePrinter::columns(std::string pid, std::string group, std::string session,
                                 const std::string& state) const {
  return pad_right(std::move(pid), pid_width_) + "  " + pad_right(std::move(group), group_width_) +
         "  " + pad_right(std::move(session), session_width_) + "  " + pad_right(state, 7) + "  ";
}

void TreePrinter::header() {
  out_ << style_.bold(columns("PID", "GROUP", "SESSION", "STATE") + "COMMAND") << "\n";
}

// A pid, group or session as the columns show it.
std::string TreePrinter::id(std::int32_t ref) {
  const std::uint32_t pid = facts_.pid_index(ref);
  if (pid == kNone) {
    if (ref == format::kRefOutside) {
      saw_outside_ = true;
      return style_.dim("outside");
    }
    if (ref == format::kRefInvisible) {
      saw_invisible_ = true;
      return style_.dim("hidden");
    }
    return style_.dim("-");
  }
  std::string s = facts_.numbers(pid);
  saw_unknown_ |= s.find('?') != s.npos;
  if (!facts_.uses[pid].ghost()) return s;
  saw_ghost_ = true;
  return style_.magenta(s + marks_.ghost);
}

std::string TreePrinter::indent(const ProcessFacts& p, bool own) {
  if (options_.only || p.depth == 0) return "";
  std::string s;
  const std::uint32_t first = p.depth > kMaxIndent ? p.depth - kDeepIndent : 0;
  if (first > 0) s = pad_right(marks_.deep + std::to_string(first) + " levels", 16);
  for (std::uint32_t d = first + 1; d < p.depth; ++d) s += more_[d] ? marks_.pipe : marks_.blank;
  const bool last = p.next_sibling == kNone;
  if (own)
    s += last ? marks_.last : marks_.branch;
  else
    s += last ? marks_.blank : marks_.pipe;
  return s.find_first_not_of(' ') == s.npos ? s : style_.dim(s);
}

std::string TreePrinter::state(const ProcessFacts& p) const {
  const ProcessState s = facts_.state(p);
  const std::string name = state_name(s);
  switch (s) {
    case ProcessState::running:
      return style_.green(name);
    case ProcessState::stopped:
      return style_.yellow(name);
    default:
      return style_.red(name);
  }
}

// What is under way: of all of the process, or of the one thread `task`; the leader's line has what
// is asynchronous, too.
std::string TreePrinter::requests(const ProcessFacts& p, std::uint32_t task) const {
  const auto asked = facts_.requests.find(facts_.leader(p).tgid);
  std::string s;
  if (asked == facts_.requests.end()) return s;
  for (const format::Request* r : asked->second) {
    const bool of_process = r->kind >= format::kRequestAsyncRead;
    const bool shown =
        task == kNone || (of_process ? task == p.first : r->lwp == facts_.image.tree[task].pid);
    if (shown) s += " " + style_.yellow("[" + facts_.request(*r) + "]");
  }
  return s;
}

std::string TreePrinter::notes(const ProcessFacts& p) {
  const format::Image& image = facts_.image;
  std::string s;
  const ProcessState state = facts_.state(p);
  if (state == ProcessState::zombie)
    s += " " + style_.red("<" + describe_exit(image.tasks[p.first].exit_code) + ">");
  else if (state == ProcessState::dead)
    s += " " + style_.red("<leader has exited>") + " " +
         style_.dim("{" + count_of(p.threads - 1, "living thread") + "}");
  else if (p.threads > 1)
    s += " " + style_.dim("{" + count_of(p.threads, "thread") + "}");
  const std::uint32_t tgid = facts_.pid_index(facts_.leader(p).tgid);
  const std::uint32_t ns = tgid == kNone ? 0 : image.ns_of(tgid);
  if (ns < facts_.ns_inits.size() && &facts_.processes[0] + facts_.ns_inits[ns] == &p &&
      (ns > 0 || image.header.mode == format::kModeContainer)) {
    s += " " + style_.cyan("[init of namespace " + std::to_string(ns) + "]");
  } else if (p.parent != kNone) {
    const std::uint32_t above = facts_.pid_index(facts_.leader(facts_.processes[p.parent]).tgid);
    if (above != kNone && image.ns_of(above) != ns)
      s += " " + style_.cyan("[in namespace " + std::to_string(ns) + "]");
  }
  s += requests(p, options_.threads ? p.first : kNone);
  const format::TaskKin kin = image.kin_of(p.first);
  if (!image.nodes.empty())
    s += " " + style_.cyan("[on " + printable(image.nodes[image.node_of(p.first)]) + "]");
  if (kin.subreaper == 1) s += " " + style_.cyan("[subreaper]");
  if (kin.child_ns != 0)
    s += " " + style_.cyan("[children are born in namespace " +
                           std::to_string(facts_.namespace_index(kin.child_ns)) + "]");
  return s;
}

void TreePrinter::line(const ProcessFacts& p) {
  if (more_.size() <= p.depth) more_.resize(p.depth + 1);
  more_[p.depth] = p.next_sibling != kNone;
  const format::TreeEntry& e = facts_.leader(p);
  std::string comm = printable(facts_.image.comm(p.first));
  if (comm.empty()) comm = "?";
  out_ << columns(id(e.pid), id(e.pgid), id(e.sid), state(p)) << indent(p, true)
       << style_.bold(comm) << notes(p) << "\n";
  if (!options_.threads) return;
  for (std::uint32_t i = 1; i < p.threads; ++i) thread_line(p, p.first + i);
}

void TreePrinter::thread_line(const ProcessFacts& p, std::uint32_t task) {
  out_ << columns(id(facts_.image.tree[task].pid), "", "", "thread") << indent(p, false)
       << (p.first_child != kNone && !options_.only ? style_.dim(marks_.pipe) : marks_.blank)
       << style_.dim("{" + printable(facts_.image.comm(task)) + "}") << requests(p, task) << "\n";
}

// What the marks mean that this tree has.
void TreePrinter::legend() {
  if (saw_outside_ || saw_invisible_ || saw_unknown_) out_ << "\n";
  if (saw_outside_)
    out_ << style_.dim(
                "outside: of a task that is not in the image; inherited from whoever restores")
         << "\n";
  if (saw_invisible_)
    out_ << style_.dim("hidden: cannot be seen from the namespace of the root process") << "\n";
  if (saw_unknown_) out_ << style_.dim("?: a number that could not be learned") << "\n";
  if (const auto& nodes = facts_.image.nodes; !nodes.empty()) {
    out_ << "\n" << style_.bold("Nodes") << ":";
    for (const std::string& node : nodes) out_ << " " << printable(node);
    out_ << "; each process has a surrogate on all that it does not execute on\n";
  }
  if (saw_ghost_ || (facts_.ghosts > 0 && !options_.only)) ghost_list();
}

void TreePrinter::ghost_list() {
  out_ << "\n"
       << style_.bold("Ghosts")
       << ": ids that no task has any more, kept since others still use them\n";
  std::size_t shown = 0, left = 0;
  for (std::uint32_t pid = 0; pid < facts_.uses.size(); ++pid) {
    const PidUse& use = facts_.uses[pid];
    if (!use.ghost()) continue;
    if (options_.only) {
      const format::TreeEntry& e = facts_.leader(*options_.only);
      if (facts_.pid_index(e.pgid) != pid && facts_.pid_index(e.sid) != pid) continue;
    }
    if (shown == options_.max_ghosts) {
      ++left;
      continue;
    }
    ++shown;
    std::string role;
    if (use.in_session > 0)
      role = "dead leader of a session of " + count_of(use.in_session, "process", "processes");
    if (use.in_group > 0)
      role += std::string(role.empty() ? "dead leader of" : " and of") + " a group of " +
              count_of(use.in_group, "process", "processes");
    out_ << style_.magenta(pad_right(facts_.numbers(pid) + marks_.ghost, pid_width_)) << "  "
         << (role.empty() ? "not used by any task" : role) << "\n";
  }
  if (left > 0) out_ << style_.dim("and " + count_of(left, "more ghost") + ": see --pids") << "\n";
}

}  // namespace

void print_tree(Out& out, const Style& style, const ImageFacts& facts, const TreeOptions& options) {
  TreePrinter(out, style, facts, options).print();
}

}  // namespace ckpt::cli
