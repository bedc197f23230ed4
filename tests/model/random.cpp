#include "tests/model/random.h"

#include <algorithm>
#include <array>
#include <random>

namespace ckpt::model {

using core::Nr;
using core::Pid;
using core::Process;
using core::Task;

namespace {

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {
    start_ = kStarts[below(3)];
    // Some verbs not at all, some often: each mixture finds other trees.
    for (std::size_t i = 0; i < kVerbs; ++i) weights_[i] = below(3) == 0 ? 0 : 1 + below(10);
    weight(Verb::fork) += 5;
    weight(Verb::exit) += 1;
    weight(Verb::stop) /= 3;
    // Namespaces and threads in half of the histories.
    if (below(2) == 0)
      for (const Verb v : {Verb::clone_newpid, Verb::unshare, Verb::setns}) weight(v) = 0;
    if (below(2) == 0) weight(Verb::thread) = 0;
    // Exit signals in half of them.
    if (below(2) == 0) weight(Verb::fork_usr1) = weight(Verb::execve) = 0;
    most_ = std::size_t{4} << below(7);
  }

  RandomHistory run(std::uint64_t seed, std::size_t calls) {
    RandomHistory result{seed, start_, {}, 0};
    World world(start_);
    for (std::size_t tries = 0; result.history.size() < calls && tries < 40 * calls; ++tries) {
      list(world);
      if (tasks_.empty()) break;
      std::optional<Call> call = draw(world);
      if (!call || world.apply(*call) < 0) continue;
      if (is_birth(call->verb)) {  // it is named by the number that it has now
        const Nr number = world.machine().root_ns().last_nr;
        CKPT_ASSERT(number <= 0xffff);
        call->a = static_cast<std::uint16_t>(number);
      }
      result.history.push_back(*call);
      result.most_tasks = std::max(result.most_tasks, world.machine().tasks());
      is_listed_ = false;
    }
    return result;
  }

 private:
  unsigned below(std::size_t n) {
    return static_cast<unsigned>(std::uniform_int_distribution<std::size_t>(0, n - 1)(random_));
  }
  unsigned& weight(Verb verb) { return weights_[static_cast<std::size_t>(verb)]; }

  // Who lives.
  void list(World& world) {
    if (is_listed_) return;
    is_listed_ = true;
    tasks_.clear();
    processes_.clear();
    core::for_each_process(world.machine().world(), [&](Process& p) {
      if (&p == &world.machine().world()) return;
      processes_.push_back(&p);
      if (p.zombie || p.exiting) return;
      for (Task& t : p.threads)
        if (!t.exited) tasks_.push_back(&t);
    });
  }

  Verb draw_verb() {
    unsigned sum = 0;
    for (const unsigned w : weights_) sum += w;
    unsigned at = below(sum);
    std::size_t i = 0;
    while (at >= weights_[i]) at -= weights_[i++];
    return static_cast<Verb>(i);
  }

  std::optional<Call> draw(World& world) {
    const auto nr = [&](const Pid& pid) {
      return static_cast<std::uint16_t>(pid.nr(world.machine().root_ns()));
    };
    Verb verb = draw_verb();
    // As many are born as die, once there are enough.
    const bool is_full = processes_.size() >= most_;
    if (is_full && is_birth(verb)) verb = below(2) ? Verb::exit : Verb::wait;
    Task* t = tasks_[below(tasks_.size())];
    Process& p = *t->process;
    Call call{verb, nr(*t->pid), 0, 0};
    switch (verb) {
      case Verb::exit:
        return may_exit(world, *t) ? std::optional(call) : std::nullopt;
      case Verb::wait:
        for (Process& child : p.children)
          if (child.zombie && (call.a == 0 || below(2))) call.a = nr(*child.tgid);
        return call.a ? std::optional(call) : std::nullopt;
      case Verb::setpgid: {
        Process* target = &p;
        for (Process& child : p.children)
          if (below(2)) target = &child;
        call.a = nr(*target->tgid);
        call.b = call.a;
        if (below(2)) {
          const Process& other = *processes_[below(processes_.size())];
          call.b = nr(below(2) ? *other.pgrp : *other.tgid);
        }
        return call.b ? std::optional(call) : std::nullopt;
      }
      case Verb::setns:
      case Verb::stop:
      case Verb::cont:
        call.a = nr(*processes_[below(processes_.size())]->tgid);
        return call;
      default:
        return call;
    }
  }

  // An init's death takes much with it: it comes rarely; the root's hardly ever.
  bool may_exit(World& world, const Task& t) {
    const Process& p = *t.process;
    if (&p == &world.root() && p.single_threaded()) return below(2000) == 0;
    if (p.ns()->init == &p && !p.children.empty()) return below(10) == 0;
    return true;
  }

  std::mt19937_64 random_;
  Start start_ = Start::container;
  std::array<unsigned, kVerbs> weights_{};
  std::size_t most_ = 0;
  std::vector<Task*> tasks_;
  std::vector<Process*> processes_;
  bool is_listed_ = false;
};

}  // namespace

RandomHistory random_history(std::uint64_t seed, std::size_t calls) {
  return Generator(seed).run(seed, std::min<std::size_t>(calls, 60000));
}

namespace {

using Fails = std::function<bool(const History&)>;

// Leaves out ever smaller pieces. True if it found any.
bool leave_out(History& history, const Fails& fails, std::size_t& budget) {
  bool is_shorter = false;
  for (std::size_t piece = std::max<std::size_t>(1, history.size() / 2); budget > 0; piece /= 2) {
    for (std::size_t end = history.size(); end > 0 && budget > 0;) {
      const std::size_t begin = end > piece ? end - piece : 0;
      History rest(history.begin(), history.begin() + static_cast<std::ptrdiff_t>(begin));
      rest.insert(rest.end(), history.begin() + static_cast<std::ptrdiff_t>(end), history.end());
      --budget;
      if (fails(rest)) {
        history = std::move(rest);
        is_shorter = true;
      }
      end = std::min(begin, history.size());
    }
    if (piece == 1) break;
  }
  return is_shorter;
}

// Leaves out births, and lets the creator do what the child did.
bool merge_into_creators(History& history, const Fails& fails, std::size_t& budget) {
  bool is_shorter = false;
  for (std::size_t i = history.size(); i-- > 0 && budget > 0;) {
    const Call birth = history[i];
    if (!is_birth(birth.verb) || birth.a == 0) continue;
    History rest = history;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
    for (Call& call : rest) {
      if (call.caller == birth.a) call.caller = birth.caller;
      if (!is_birth(call.verb) && call.a == birth.a) call.a = birth.caller;
      if (call.b == birth.a) call.b = birth.caller;
    }
    --budget;
    if (!fails(rest)) continue;
    history = std::move(rest);
    is_shorter = true;
  }
  return is_shorter;
}

}  // namespace

History shrink(History history, const Fails& fails, std::size_t budget) {
  while (budget > 0) {
    const bool left_out = leave_out(history, fails, budget);
    if (!merge_into_creators(history, fails, budget) && !left_out) break;
  }
  return history;
}

}  // namespace ckpt::model
