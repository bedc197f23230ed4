#include "tests/conformance/describe.h"

#include <algorithm>
#include <map>
#include <sstream>

namespace ckpt::conformance {

namespace {

using core::Nr;
using core::Pid;
using core::PidNs;
using core::Process;
using core::Task;

constexpr std::uint32_t kLargeFile = 0100000;

class Writer {
 public:
  explicit Writer(const DescribeOptions& options) : options_(options) {}

  void tree(const Process& top) {
    std::vector<const Process*> todo{&top};
    while (!todo.empty()) {
      const Process& p = *todo.back();
      todo.pop_back();
      process(p, &p == &top);
      std::vector<const Process*> children;
      for (const Process& child : p.children) children.push_back(&child);
      const Nr nr = p.tgid->nr_at(0);
      if (std::find(options_.unordered.begin(), options_.unordered.end(), nr) !=
          options_.unordered.end())
        std::sort(children.begin(), children.end(), [](const Process* a, const Process* b) {
          return a->tgid->nr_at(0) < b->tgid->nr_at(0);
        });
      todo.insert(todo.end(), children.rbegin(), children.rend());
    }
  }

  std::vector<std::string> lines;

 private:
  template <class T>
  std::string number_of(const T* object, bool* is_new = nullptr) {
    if (is_new) *is_new = !numbers_.contains(object);
    const auto [it, added] = numbers_.try_emplace(object, 0);
    if (added) it->second = ++counts_[typeid(T).name()];
    return "#" + std::to_string(it->second);
  }

  // The numbers of `pid` as a member of `ns` and of all above sees them.
  static std::string seen_from(const Pid& pid, const PidNs& ns) {
    if (pid.outside()) return "outside";
    std::string text;
    for (std::uint32_t level = 0; level <= ns.level; ++level) {
      const Nr nr = pid.nr(ns.ancestor(level));
      text += (level ? "." : "") + (nr == core::kNrUnknown ? "?" : std::to_string(nr));
    }
    return text;
  }

  void process(const Process& p, bool is_root) {
    std::ostringstream line;
    const std::string name = seen_from(*p.tgid, *p.ns());
    line << "process " << name << " parent "
         << (is_root ? "outside" : seen_from(*p.parent->tgid, *p.parent->ns())) << " group "
         << seen_from(*p.pgrp, *p.ns()) << " session " << seen_from(*p.session, *p.ns()) << " in "
         << number_of(p.ns());
    if (p.zombie)
      line << " zombie " << p.exit_code;
    else if (p.exiting)
      line << " exiting";
    else if (p.stopped)
      line << " stopped";
    else if (p.leader->exited)
      line << " leader dead";
    line << " signal " << p.exit_signal;
    if (!p.zombie && !p.exiting) {
      if (p.ignores_sigchld && !p.nocldwait) line << " ignores SIGCHLD";
      line << " files " << files(p.files.get()) << " fs " << fs(p.fs.get());
    }
    lines.push_back(line.str());
    std::vector<const Task*> threads;
    for (const Task& task : p.threads) threads.push_back(&task);
    std::sort(threads.begin(), threads.end(),
              [](const Task* a, const Task* b) { return a->pid->nr_at(0) < b->pid->nr_at(0); });
    for (const Task* task : threads) thread(*task, name);
  }

  void thread(const Task& task, const std::string& process) {
    std::ostringstream line;
    line << "  thread " << seen_from(*task.pid, *task.process->ns()) << " of " << process << " \""
         << task.name() << "\"";
    if (task.exited) line << " dead";
    if (task.child_ns)
      line << " children in " << number_of(task.child_ns.get())
           << (task.child_ns->state == format::kNsEmpty ? " (empty)" : "");
    lines.push_back(line.str());
  }

  std::string files(const core::FdTable* table) {
    if (!table) return "empty";
    bool is_new = false;
    std::string name = number_of(table, &is_new);
    if (!is_new) return name;
    for (const core::Fd& fd : table->fds())
      lines.push_back("    table " + name + " fd " + std::to_string(fd.fd) +
                      (fd.cloexec ? " cloexec " : " ") + file(*fd.file));
    return name;
  }

  std::string file(const core::File& f) {
    bool is_new = false;
    const std::string name = "file " + number_of(&f, &is_new);
    if (!is_new) return name;
    std::ostringstream text;
    text << name << " type " << f.type << " flags 0" << std::oct << (f.flags & ~kLargeFile)
         << std::dec << " offset " << f.offset << " "
         << (f.pipe ? "pipe " + number_of(f.pipe.get()) : f.path) << (f.deleted ? " deleted" : "");
    return text.str();
  }

  std::string fs(const core::FsContext* context) {
    if (!context) return "unknown";
    bool is_new = false;
    std::string name = number_of(context, &is_new);
    if (!is_new) return name;
    std::ostringstream line;
    line << "    fs " << name << " cwd " << context->cwd << " umask 0" << std::oct
         << context->umask;
    lines.push_back(line.str());
    return name;
  }

  const DescribeOptions& options_;
  std::map<const void*, int> numbers_;
  std::map<std::string, int> counts_;
};

// Equal but for numbers in `a` that are unknown ("?") in `b`.
bool matches(const std::string& a, const std::string& b) {
  std::size_t i = 0;
  for (const char c : b) {
    if (i < a.size() && a[i] == c) {
      ++i;
    } else {
      const std::size_t first = i;
      while (i < a.size() && a[i] >= '0' && a[i] <= '9') ++i;
      if (c != '?' || i == first) return false;
    }
  }
  return i == a.size();
}

}  // namespace

std::vector<std::string> describe(const core::Process& root, const DescribeOptions& options) {
  Writer writer(options);
  writer.tree(root);
  return std::move(writer.lines);
}

std::string difference(const std::vector<std::string>& a, const std::vector<std::string>& b,
                       const std::string& name_a, const std::string& name_b) {
  std::string text;
  const auto print = [&](const auto& from, const auto& other, const std::string& mark) {
    std::vector<std::string> left = other;
    for (const std::string& line : from) {
      const auto it = std::find(left.begin(), left.end(), line);
      if (it != left.end())
        left.erase(it);
      else
        text += mark + " " + line + "\n";
    }
  };
  if (std::equal(a.begin(), a.end(), b.begin(), b.end(), matches)) return {};
  print(a, b, "- " + name_a + ":");
  print(b, a, "+ " + name_b + ":");
  if (text.empty()) {
    text = "the same lines in another order\n";
    for (std::size_t i = 0; i < a.size(); ++i) text += "- " + a[i] + "\n+ " + b[i] + "\n";
  }
  return text;
}

}  // namespace ckpt::conformance
