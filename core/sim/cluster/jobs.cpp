// How a node's work is done: jobs that run, wait for answers, and start over.
#include <algorithm>

#include "core/sim/cluster/cluster.h"

namespace ckpt::sim::cluster {

// The lowest free id, so that equal states look equal however they came about.
Job& Node::new_job(Message request) {
  JobId id = 1;
  while (jobs_.contains(id)) ++id;
  Job& job = jobs_[id];
  job.id = id;
  job.request = std::move(request);
  return job;
}

void Node::call(Nr tid, const Call& call, std::uint32_t token) {
  Message request;
  request.verb = call.verb;
  request.caller = tid;
  request.a = call.a;
  request.b = call.b;
  Job& job = new_job(std::move(request));
  job.token = token;
  run(job);
  retry_blocked();
}

void Node::receive(Message message) {
  if (message.verb == Verb::answer) {
    const auto job = jobs_.find(message.job);
    CKPT_ASSERT(job != jobs_.end());
    answered(job->second, message);
  } else if (message.verb == Verb::landed) {
    std::erase(departing_, static_cast<Nr>(message.a));
  } else if (message.verb == Verb::notify) {
    tell_parent(static_cast<Nr>(message.a));
  } else {
    run(new_job(std::move(message)));
  }
  retry_blocked();
}

void Node::run(Job& job) {
  CKPT_ASSERT(!job.running && !job.finished);
  Job* outer = current_;
  if (outer) publish(*outer);
  current_ = &job;
  job.running = true;
  long r = 0;
  do {
    job.blocked = job.asleep = false;
    r = perform(job);
    publish(job);
  } while (r == -EAGAIN && job.pending.empty() && !job.blocked);
  job.running = false;
  current_ = outer;
  if (r == -EAGAIN) return;
  if (r == kWouldBlock) {
    job.asleep = true;
    return;
  }
  job.result = r;
  job.finished = true;
  if (job.pending.empty()) complete(job);
}

void Node::resume(Job& job) {
  if (job.running || !job.pending.empty()) return;
  if (job.finished)
    complete(job);
  else
    run(job);
}

void Node::complete(Job& job) {
  Job done = std::move(job);
  jobs_.erase(done.id);
  for (const std::string& key : done.locks) locks_.erase(key);
  for (const std::uint32_t number : done.broadcasts) std::erase(open_broadcasts_, number);
  tell(done);
  if (done.token != 0) cluster_.returned(done.token, done.result, done.status);
  Message answer;
  answer.verb = Verb::answer;
  answer.job = done.parent != 0 ? done.parent : done.request.job;
  answer.of = done.request.verb;
  answer.a = done.request.a;
  answer.result = done.result;
  answer.status = done.status;
  answer.b = done.moved_to;
  if (done.parent != 0) {
    answer.from = id_;
    answered(jobs_.at(done.parent), answer);
  } else if (done.request.job != 0) {
    send(std::move(answer), done.request.from);
  }
}

void Node::answered(Job& job, const Message& answer) {
  const auto it =
      std::find(job.pending.begin(), job.pending.end(), Pending{answer.from, answer.of, answer.a});
  CKPT_ASSERT(it != job.pending.end());
  job.pending.erase(it);
  if (const Task* t = answer.result == -EREMOTE ? find_lwp(answer.a) : nullptr)
    if (Process* p = t->process; p->remote && p->node == answer.from && answer.b != id_)
      p->node = static_cast<NodeId>(answer.b);
  switch (answer.of) {
    case Verb::facts: {
      const auto unsettled = unsettled_.find(static_cast<Nr>(answer.a));
      if (--unsettled->second == 0) unsettled_.erase(unsettled);
      break;
    }
    case Verb::wait_here:
    case Verb::kill_here:
    case Verb::ptrace_here:
    case Verb::move_here:
    case Verb::setpgid:
    case Verb::join:
    case Verb::found:
      job.answer = answer;
      break;
    default:
      break;
  }
  resume(job);
}

bool Node::only_counts(const Message& answer) const {
  if (answer.result == -EREMOTE || jobs_.at(answer.job).pending.size() < 2) return false;
  if (answer.of == Verb::facts) return unsettled_.at(static_cast<Nr>(answer.a)) > 1;
  return answer.of == Verb::gone || answer.of == Verb::goodbye || answer.of == Verb::hangup ||
         answer.of == Verb::kill_pgrp || answer.of == Verb::kill_all;
}

long Node::block() {
  current_->blocked = true;
  return -EAGAIN;
}

// Blocked jobs look again after whatever has happened here, until none comes any further.
void Node::retry_blocked() {
  for (bool progress = true; progress;) {
    progress = false;
    std::vector<JobId> blocked;
    for (const auto& [id, job] : jobs_)
      if (job.blocked && job.pending.empty()) blocked.push_back(id);
    for (const JobId id : blocked) {
      const auto it = jobs_.find(id);
      if (it == jobs_.end() || !it->second.blocked || it->second.finished) continue;
      run(it->second);
      const auto after = jobs_.find(id);
      progress |= after == jobs_.end() || !after->second.blocked;
    }
  }
}

// A sleep lock, of the current job until it ends.
bool Node::lock(const std::string& key) {
  const auto [it, is_new] = locks_.try_emplace(key, current_->id);
  if (is_new) current_->locks.push_back(key);
  return it->second == current_->id;
}

void Node::send(Message message, NodeId to) {
  message.from = id_;
  message.to = to;
  cluster_.send(std::move(message));
}

void Node::ask(NodeId to, Message request) {
  request.job = current_->id;
  current_->pending.push_back({to, request.verb, request.a});
  send(std::move(request), to);
}

void Node::ask_all(const Message& request) {
  for (NodeId to = 0; to < cluster_.nodes(); ++to)
    if (to != id_ && cluster_.is_alive(to)) ask(to, request);
}

void Node::start(Message request) {
  request.from = id_;
  Job& job = new_job(std::move(request));
  job.parent = current_->id;
  current_->pending.push_back({id_, job.request.verb, job.request.a});
  run(job);
}

// Tells all nodes of what has changed in the processes that execute here.
void Node::publish(Job& job) {
  Job* outer = current_;
  current_ = &job;
  const Verb asked = job.request.verb;
  const auto say_what_for = [&](Message& news) {
    if (asked != Verb::ptrace_here && (asked != Verb::wait_here || job.result <= 0)) return;
    news.of = asked;
    news.caller = job.request.caller;
    news.b = job.request.a;
    news.result = job.result;
    news.status = job.status;
  };
  for (Process* p : machine_.all()) {
    if (p->remote) continue;
    p->node = id_;
    Facts now = facts_of(*p);
    const auto known = published_.find(now.pid);
    if (known != published_.end() && known->second == now) continue;
    published_[now.pid] = now;
    Message news;
    news.verb = Verb::facts;
    news.a = now.pid;
    news.facts = std::make_shared<Facts>(std::move(now));
    say_what_for(news);
    const std::size_t before = job.pending.size();
    ask_all(news);
    if (job.pending.size() > before)
      unsettled_[static_cast<Nr>(news.a)] += static_cast<unsigned>(job.pending.size() - before);
  }
  for (auto it = published_.begin(); it != published_.end();) {
    const Nr nr = it->first;
    const Process* p = find(nr);
    if (p && !p->remote) {
      ++it;
      continue;
    }
    it = published_.erase(it);
    had_.erase(nr);
    Message news;
    news.verb = Verb::gone;
    news.a = nr;
    say_what_for(news);
    ask_all(news);
  }
  current_ = outer;
}

std::vector<JobId> Node::sleeping_calls_of(const Process& process) {
  std::vector<JobId> sleeping;
  for (const auto& [id, job] : jobs_)
    if (job.asleep && is_call_of(job, process)) sleeping.push_back(id);
  return sleeping;
}

// Those of its threads that sleep in a wait look again.
void Node::wake(const Process& parent) {
  for (const JobId id : sleeping_calls_of(parent))
    if (const auto it = jobs_.find(id); it != jobs_.end() && it->second.asleep) run(it->second);
}

void Node::tell(Job& job) {
  for (const Nr parent : std::exchange(job.notices, {})) tell_parent(parent);
}

void Node::tell_parent(Nr nr) {
  const Process* parent = find(nr);
  if (!parent) return;  // it is dead: whoever adopts the child has been told, or will be
  if (!parent->remote) {
    wake(*parent);
    return;
  }
  Message news;
  news.verb = Verb::notify;
  news.a = nr;
  if (parent->node != id_) send(std::move(news), parent->node);
}

}  // namespace ckpt::sim::cluster
