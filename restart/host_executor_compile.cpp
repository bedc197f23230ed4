// The plan as cells for the tasks: who acts when, and all numbers that a step needs, worked out
// before anything is made.
#include <signal.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/host/inject.h"
#include "restart/host_executor_parts.h"
#include "restart/numbers.h"
#include "restart/print_plan.h"

namespace ckpt::restart::real {

using format::Image;
using Place = HostOptions::Place;

namespace {

class Compiler {
 public:
  Compiler(const Image& image, const Forest& forest, const Plan& plan, const HostOptions& options)
      : image_(image), f_(forest), plan_(plan), options_(options), spare_(image) {
    actors_.resize(1 + forest.size() + plan.ghosts.size());
    ghosts_of_.assign(image.pids.size(), kNone);
  }

  Result<Shared*> run() {
    for (std::size_t i = 0; i < f_.size(); ++i) CKPT_CHECK(add_task(i));
    for (std::size_t g = 0; g < plan_.ghosts.size(); ++g) CKPT_CHECK(add_ghost(g));
    for (std::size_t i = 0; i < plan_.steps.size(); ++i) CKPT_CHECK(add_step(i));
    find_openers();
    chain();
    for (std::uint32_t i = 0; i < options_.gifts.all.size(); ++i) {
      ActorCell& actor = actors_[index(options_.gifts.all[i].actor)];
      if (actor.nr_gifts++ == 0) actor.first_gift = i;
    }
    return share();
  }

 private:
  [[nodiscard]] std::uint32_t index(Actor a) const {
    switch (a.kind()) {
      case Actor::kTask:
        return 1 + a.index();
      case Actor::kGhost:
        return static_cast<std::uint32_t>(1 + f_.size()) + a.index();
      case Actor::kRestorer:
        break;
    }
    return kRestorer;
  }
  [[nodiscard]] Error refuse(std::size_t task, const std::string& why) const {
    return cannot("cannot restore the process", "task " + task_text(image_, f_, task) + ": " + why);
  }
  [[nodiscard]] bool keeps_numbers() const { return options_.place != Place::new_numbers; }

  // `numbers` from the root namespace down; clone3(2) wants the innermost first, and none left out:
  // one that is not known will be any that is free.
  Status set_numbers(ActorCell& actor, std::span<const std::int32_t> numbers) {
    actor.numbers = static_cast<std::uint32_t>(numbers_.size());
    actor.nr_numbers = static_cast<std::uint32_t>(numbers.size());
    numbers_.insert(numbers_.end(), numbers.rbegin(), numbers.rend());
    if (std::find(numbers.begin(), numbers.end(), format::kNrUnknown) == numbers.end()) return {};
    CKPT_TRY(const std::vector<std::int32_t> spare, spare_numbers(actor.ns));
    for (std::size_t level = 0; level < numbers.size(); ++level)
      if (numbers[level] == format::kNrUnknown)
        numbers_[actor.numbers + numbers.size() - 1 - level] = spare[level];
    return {};
  }

  Status add_task(std::size_t i) {
    ActorCell& actor = actors_[1 + i];
    const format::Task& task = image_.tasks[i];
    actor.task = static_cast<std::uint32_t>(i);
    actor.ns = image_.ns_of(f_.pid[i]);
    if (keeps_numbers()) CKPT_CHECK(set_numbers(actor, image_.pids.numbers(f_.pid[i])));
    actor.exit_signal = task.exit_signal;
    actor.pdeath_signal = task.pdeath_signal;
    const bool exiting = image_.kin_of(i).exiting != 0;
    const bool threads = f_.is_leader(i) && i + 1 < f_.size() && f_.leader[i + 1] == i;
    if (f_.ns_init[actor.ns] == i) actor.traits |= kIsInit;
    if (exiting) actor.traits |= kNeverGone;
    if (threads) actor.traits |= kLeaderOnly;
    if (image_.zombie(i) || exiting) {
      actor.status = task.exit_code;
      CKPT_CHECK(check_end(i, actor));
    }
    std::memcpy(actor.comm, image_.comms[i].data(), sizeof actor.comm);
    actor.comm[sizeof actor.comm - 1] = '\0';
    return {};
  }

  // Can a process come to that end by itself?
  [[nodiscard]] Status check_end(std::size_t i, const ActorCell& actor) const {
    const std::uint32_t signal = actor.status & 0x7f;
    constexpr int kHarmless[] = {SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP,
                                 SIGTTIN, SIGTTOU, SIGURG,  SIGWINCH};
    if (signal > 64 || std::find(std::begin(kHarmless), std::end(kHarmless),
                                 static_cast<int>(signal)) != std::end(kHarmless))
      return refuse(i, "no process ends by signal " + std::to_string(signal));
    if ((actor.traits & kIsInit) && signal != 0 && signal != SIGKILL && signal != SIGSEGV)
      return refuse(i, "it is the init of a pid namespace, which signal " + std::to_string(signal) +
                           " does not end");
    return {};
  }

  Status add_ghost(std::size_t g) {
    const Ghost& ghost = plan_.ghosts[g];
    const auto number = static_cast<std::uint32_t>(1 + f_.size() + g);
    ActorCell& actor = actors_[number];
    actor.ns = ghost.ns;
    actor.exit_signal = ghost.signal;
    std::strcpy(actor.comm, "ckpt-ghost");
    if (ghost.why == Why::init) actor.traits |= kIsInit;
    if (ghost.pid != Ghost::kNone) {
      ghosts_of_[ghost.pid] = number;
      if (image_.pids.numbers(ghost.pid).back() == 1) actor.traits |= kIsInit;
    }
    if (!keeps_numbers()) return {};
    if (ghost.pid != Ghost::kNone) return set_numbers(actor, image_.pids.numbers(ghost.pid));
    CKPT_TRY(const std::vector<std::int32_t> spare, spare_numbers(ghost.ns));
    CKPT_CHECK(set_numbers(actor, spare));
    if (ghost.why == Why::init) numbers_[actor.numbers] = 1;
    return {};
  }

  // Numbers, from the root namespace down, that nothing in the image has, nor anybody else in the
  // present namespace.
  Result<std::vector<std::int32_t>> spare_numbers(std::uint32_t ns) {
    const std::vector<std::int32_t>* spare = nullptr;
    do spare = &spare_.next(ns);
    while (options_.place == Place::here && spare->front() != 0 && is_taken(spare->front()));
    if (std::find(spare->begin(), spare->end(), 0) != spare->end())
      return cannot("cannot restore the processes", "no number is left for a helper", {}, EAGAIN);
    return *spare;
  }
  static bool is_taken(std::int32_t nr) {
    return ::kill(nr, 0) == 0 || errno != ESRCH || ::kill(-nr, 0) == 0 || errno != ESRCH;
  }

  // Its number in the namespace that `actor` lives in.
  [[nodiscard]] std::int32_t seen_by(std::uint32_t actor, const ActorCell& whose) const {
    const std::uint32_t level = image_.namespaces[actors_[actor].ns].level;
    if (level >= whose.nr_numbers) return 0;
    return numbers_[whose.numbers + whose.nr_numbers - 1 - level];
  }

  Status add_step(std::size_t i) {
    const Step& s = plan_.steps[i];
    if (options_.become && is_left_to_rebirth(i)) return {};
    StepCell cell;
    cell.op = s.op;
    cell.flags = s.flags;
    cell.actor = index(s.actor);
    cell.child = index(s.child);
    cell.plan_step = static_cast<std::uint32_t>(i);
    if (options_.become && s.op == Op::stop)
      cell.actor = index(Actor::task(f_.leader[s.actor.index()]));
    CKPT_CHECK(fill(s, cell));
    steps_.push_back(cell);
    return {};
  }

  // Whoever becomes a process makes its own threads. What depends on them comes after: where the
  // children of each are born, and the exit of the leader.
  [[nodiscard]] bool is_left_to_rebirth(std::size_t i) const {
    const Step& s = plan_.steps[i];
    if (s.op == Op::thread) return true;
    if (s.actor.kind() != Actor::kTask || s.op == Op::stop) return false;
    if (!f_.is_leader(s.actor.index())) return true;
    if (!has_threads(s.actor)) return false;
    return s.op == Op::exit || ((s.op == Op::enter_ns || s.op == Op::unshare_ns) &&
                                plan_.phase_of(i) == Phase::namespaces);
  }

  Status fill(const Step& s, StepCell& cell) {
    switch (s.op) {
      case Op::fork:
      case Op::enter_ns:
      case Op::unshare_ns:
        cell.ns = s.arg;
        break;
      case Op::setpgid:
        fill_setpgid(s, cell);
        break;
      case Op::exit:
        actors_[cell.actor].traits |= kExits;
        break;
      case Op::reap:  // the handle that its exit leaves is held until the next step only
        if (steps_.empty() || steps_.back().op != Op::exit || steps_.back().actor != cell.child)
          return cannot("cannot restore the processes",
                        "a ghost of the plan is not reaped as soon as it ends");
        break;
      case Op::exec:  // it would end the program that carries out the plan
        return cannot("cannot restore the processes",
                      "the plan needs an execve(2), as siblings have exit signals that their "
                      "session's leader lost by that");
      case Op::thread:
      case Op::setsid:
      case Op::subreaper_on:
      case Op::subreaper_off:
      case Op::stop:
        break;
    }
    return {};
  }

  [[nodiscard]] bool has_threads(Actor a) const {
    return a.kind() == Actor::kTask && (actors_[index(a)].traits & kLeaderOnly) != 0;
  }

  void fill_setpgid(const Step& s, StepCell& cell) {
    if (cell.actor != cell.child) cell.pid = seen_by(cell.actor, actors_[cell.child]);
    if (s.arg == kRestorersGroup) {
      cell.flags |= kJoinsRestorer;
      return;
    }
    const std::uint32_t own = s.child.kind() == Actor::kTask ? f_.pid[s.child.index()]
                                                             : plan_.ghosts[s.child.index()].pid;
    if (s.arg == own) return;
    cell.group = bearer(s.arg);
    if (cell.group != kNone) cell.pgid = seen_by(cell.actor, actors_[cell.group]);
  }

  // The actor with this pid object.
  [[nodiscard]] std::uint32_t bearer(std::uint32_t pid) const {
    return f_.task[pid] != kNoTask ? 1 + f_.task[pid] : ghosts_of_[pid];
  }

  // Whoever is the init of a namespace that is entered tells the others which that is.
  void find_openers() {
    std::vector<bool> entered(image_.namespaces.size());
    for (const StepCell& cell : steps_)
      if (cell.op == Op::enter_ns) entered[cell.ns] = true;
    for (ActorCell& actor : actors_)
      if ((actor.traits & kIsInit) && entered[actor.ns]) actor.traits |= kOpensNs;
    opens_root_ns_ = entered[0] && !root_is_init();
  }

  void chain() {
    std::vector<std::uint32_t> last(actors_.size(), kNone);
    for (std::uint32_t i = 0; i < steps_.size(); ++i) {
      std::uint32_t& before = last[steps_[i].actor];
      (before == kNone ? actors_[steps_[i].actor].first_step : steps_[before].next) = i;
      before = i;
    }
  }

  [[nodiscard]] bool root_is_init() const {
    return options_.place == Place::own_namespace && image_.pids.numbers(f_.pid[0])[0] == 1;
  }

  Result<Shared*> share() {
    const auto padded = [](std::size_t n) { return (n + 63) / 64 * 64; };
    const std::size_t actors = padded(sizeof(Shared));
    const std::size_t steps = actors + padded(actors_.size() * sizeof(ActorCell));
    const std::size_t numbers = steps + padded(steps_.size() * sizeof(StepCell));
    const std::size_t fds = numbers + padded(numbers_.size() * sizeof(std::int32_t));
    const std::size_t gifts = fds + padded(image_.namespaces.size() * sizeof(std::int32_t));
    const std::size_t gift_memory = gifts + padded(options_.gifts.all.size_bytes());
    const std::size_t bytes = gift_memory + padded(options_.gifts.memory.size_bytes());
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      return cannot("cannot restore the processes", "no memory for the plan", {}, errno);
    auto* base = static_cast<std::byte*>(memory);
    auto* s = new (memory) Shared;
    s->actors = std::uninitialized_copy(actors_.begin(), actors_.end(),
                                        reinterpret_cast<ActorCell*>(base + actors)) -
                actors_.size();
    s->steps = std::uninitialized_copy(steps_.begin(), steps_.end(),
                                       reinterpret_cast<StepCell*>(base + steps)) -
               steps_.size();
    s->numbers = std::copy(numbers_.begin(), numbers_.end(),
                           reinterpret_cast<std::int32_t*>(base + numbers)) -
                 numbers_.size();
    s->ns_fds = reinterpret_cast<std::int32_t*>(base + fds);
    std::fill_n(s->ns_fds, image_.namespaces.size(), -1);
    s->gifts = std::uninitialized_copy(options_.gifts.all.begin(), options_.gifts.all.end(),
                                       reinterpret_cast<Gift*>(base + gifts)) -
               options_.gifts.all.size();
    s->gift_memory =
        std::uninitialized_copy(options_.gifts.memory.begin(), options_.gifts.memory.end(),
                                reinterpret_cast<AddressRange*>(base + gift_memory)) -
        options_.gifts.memory.size();
    s->nr_gift_memory = static_cast<std::uint32_t>(options_.gifts.memory.size());
    s->bytes = bytes;
    settle(*s);
    return s;
  }

  void settle(Shared& s) const {
    s.nr_actors = static_cast<std::uint32_t>(actors_.size());
    s.nr_steps = static_cast<std::uint32_t>(steps_.size());
    for (std::size_t i = 0; i < f_.size(); ++i)
      if (!(actors_[1 + i].traits & kExits) && (f_.is_leader(i) || !options_.become)) ++s.expected;
    s.root = 1;
    s.root_is_init = root_is_init();
    s.own_init = options_.place == Place::own_namespace && !s.root_is_init;
    s.new_numbers = !keeps_numbers();
    // What is outside and visible in the image is to be visible.
    const auto outside = [](Id id) { return id == kOutside; };
    s.leads_session =
        s.own_init && !options_.keep_session && std::any_of(f_.sid.begin(), f_.sid.end(), outside);
    s.leads_group = s.own_init && std::any_of(f_.pgid.begin(), f_.pgid.end(), outside);
    s.mount_proc = options_.mount_proc && options_.place == Place::own_namespace;
    s.tells_stops = options_.keep_session;
    s.descriptor_limit = host::descriptor_limit();
    s.opens_root_ns = opens_root_ns_;
    s.keep_fds_from = static_cast<std::uint32_t>(options_.keep_fds_from);
    s.gifts_file = options_.gifts.file;
    for (const ActorCell& a : actors_) {
      if (a.exit_signal != 0 && a.exit_signal != SIGCHLD)
        s.exit_signals |= std::uint64_t{1} << (a.exit_signal - 1);
      s.awaits_exits |= (a.traits & kExits) != 0 || a.pdeath_signal != 0;
    }
    s.become = options_.become;
    s.context = options_.context;
  }

  const Image& image_;
  const Forest& f_;
  const Plan& plan_;
  const HostOptions& options_;
  SpareNumbers spare_;
  std::vector<ActorCell> actors_;
  std::vector<StepCell> steps_;
  std::vector<std::int32_t> numbers_;
  std::vector<std::uint32_t> ghosts_of_;  // by pid object: the actor of the ghost that has it
  bool opens_root_ns_ = false;
};

}  // namespace

Result<Shared*> compile(const Image& image, const Plan& plan, const HostOptions& options) {
  CKPT_TRY(const Forest forest, make_forest(image));
  CKPT_CHECK(check_ends(image, forest, plan));
  return Compiler(image, forest, plan, options).run();
}

void release(Shared* shared) {
  if (shared) munmap(shared, shared->bytes);
}

}  // namespace ckpt::restart::real
