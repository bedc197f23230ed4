#include "core/machine.h"

#include <algorithm>

namespace ckpt::core {

Machine::Machine() : root_ns_(new PidNs(nullptr, 0)), world_(new Process) {
  root_ns_->state = format::kNsAlive;
  world_->tgid = invisible_pid();
  set_pgrp(*world_, invisible_pid());
  set_session(*world_, invisible_pid());
}

Machine::~Machine() {
  all_.push_back(world_.get());
  for (Process* p : all_) {
    p->threads.clear_and_dispose([](Task* t) {
      t->pid->task = nullptr;
      delete t;
    });
    p->tgid->process = nullptr;
    p->pgrp->group.erase(p->pgrp->group.iterator_to(*p));
    p->session->session.erase(p->session->session.iterator_to(*p));
    if (p != world_.get()) delete p;
  }
}

Ref<PidNs> Machine::new_ns(PidNs& parent) {
  return new PidNs(&parent, namespaces_++);
}

Ref<Pid> Machine::new_pid(PidNs& ns, std::span<const Nr> numbers) {
  Ref<Pid> pid = new Pid(&ns, numbers, false);
  return pid->take_numbers() ? pid : nullptr;
}

Nr Machine::free_nr(PidNs& ns, Nr max, Nr step, Nr rest) {
  const Nr again = ns.last_nr >= 300 ? 300 : 1;
  const auto is_free = [&](Nr nr) { return nr % step == rest && !ns.find(nr); };
  for (Nr nr = ns.last_nr + 1; nr <= max; ++nr)
    if (is_free(nr)) return nr;
  for (Nr nr = again; nr <= std::min(ns.last_nr, max); ++nr)
    if (is_free(nr)) return nr;
  return 0;
}

Ref<Pid> Machine::outside_pid(PidNs& ns, std::span<const Nr> numbers) {
  if (Pid* known = ns.find(numbers.back()); known && known->outside()) return known;
  Ref<Pid> pid = new Pid(&ns, numbers, true);
  if (!pid->take_numbers()) return nullptr;
  outside_.push_back(pid);
  return pid;
}

Ref<Pid> Machine::invisible_pid() {
  outside_.emplace_back(new Pid(nullptr, {}, true));
  return outside_.back();
}

Process& Machine::add_process(Process& parent, const Ref<Pid>& pid, const Ref<Pid>& pgrp,
                              const Ref<Pid>& session) {
  ++changes_;
  CKPT_ASSERT(!pid->process);
  auto* process = new Process;
  process->tgid = pid;
  pid->process = process;
  process->parent = &parent;
  parent.children.push_back(*process);
  set_pgrp(*process, pgrp);
  set_session(*process, session);
  process->slot = static_cast<std::uint32_t>(all_.size());
  all_.push_back(process);
  process->leader = &add_thread(*process, pid);
  process->life = process->leader->life;
  if (fd_server_ && pid->nr_at(0) != kNrUnknown) fd_server_->announce(pid->nr_at(0));
  return *process;
}

Task& Machine::add_thread(Process& process, const Ref<Pid>& pid) {
  ++changes_;
  CKPT_ASSERT(!pid->task);
  auto* task = new Task;
  task->pid = pid;
  task->process = &process;
  task->life = ++lives_;
  pid->task = task;
  process.threads.push_back(*task);
  ++tasks_;
  return *task;
}

void Machine::remove_thread(Task& thread) {
  ++changes_;
  Process& process = *thread.process;
  CKPT_ASSERT(process.leader != &thread);
  set_tracer(thread, nullptr);
  process.threads.erase(process.threads.iterator_to(thread));
  requests_.lwp_ended({thread.pid->nr_at(0), thread.life});
  const Ref<Pid> pid = thread.pid;
  pid->task = nullptr;
  delete &thread;
  --tasks_;
  drop_if_unused(*pid);
}

void Machine::set_tracer(Task& task, const Ref<Pid>& tracer) {
  if (task.ptrace.tracer == tracer) return;
  ++changes_;
  if (task.ptrace.tracer) ptraced_.erase(std::find(ptraced_.begin(), ptraced_.end(), &task));
  if (tracer) ptraced_.push_back(&task);
  if (!tracer) task.ptrace = {};
  task.ptrace.tracer = tracer;
}

void Machine::make_zombie(Process& process, std::uint32_t exit_code) {
  CKPT_ASSERT(!process.zombie);
  while (&process.threads.back() != process.leader) remove_thread(process.threads.back());
  end_threads(process);
  process.zombie = true;
  process.exit_code = exit_code;
}

void Machine::end_threads(Process& process) {
  ++changes_;
  for (auto it = process.threads.begin(); it != process.threads.end();) {
    Task& thread = *it++;
    if (&thread != process.leader && !thread.ptrace.tracer) remove_thread(thread);
  }
  requests_.process_ended({process.tgid->nr_at(0), process.life});
  for (Task& thread : process.threads) {
    thread.exited = true;
    thread.child_ns = nullptr;
  }
  process.stopped = false;
  // Nobody shall see it closing its files.
  if (process.client) fd_server_->retire(process.tgid->nr_at(0));
  process.client = nullptr;
  process.files = nullptr;
  process.fs = nullptr;
}

void Machine::release(Process& process) {
  ++changes_;
  CKPT_ASSERT(process.zombie && process.children.empty() &&
              &process.threads.back() == process.leader);
  const Ref<Pid> tgid = process.tgid, pgrp = process.pgrp, session = process.session;
  set_tracer(*process.leader, nullptr);
  if (fd_server_) fd_server_->forget(tgid->nr_at(0));
  process.parent->children.erase(process.parent->children.iterator_to(process));
  process.threads.clear();
  tgid->task = nullptr;
  tgid->process = nullptr;
  pgrp->group.erase(pgrp->group.iterator_to(process));
  session->session.erase(session->session.iterator_to(process));
  all_.back()->slot = process.slot;
  all_[process.slot] = all_.back();
  all_.pop_back();
  delete process.leader;
  delete &process;
  --tasks_;
  drop_if_unused(*tgid);
  drop_if_unused(*pgrp);
  drop_if_unused(*session);
}

void Machine::take_over_leader(Task& thread) {
  ++changes_;
  Process& process = *thread.process;
  Task* old = process.leader;
  while (!process.single_threaded()) {
    Task& last = process.threads.back();
    if (&last == &thread) {  // keep it in front until the others are gone
      process.threads.erase(process.threads.iterator_to(thread));
      process.threads.push_front(thread);
      continue;
    }
    if (&last == old) {
      process.threads.erase(process.threads.iterator_to(last));
      continue;
    }
    remove_thread(last);
  }
  if (old == &thread) return;
  set_tracer(*old, nullptr);
  requests_.lwp_ended({process.tgid->nr_at(0), old->life});
  const Ref<Pid> former = thread.pid;
  thread.pid = process.tgid;
  process.tgid->task = &thread;
  process.leader = &thread;
  former->task = nullptr;
  delete old;
  --tasks_;
  drop_if_unused(*former);
}

void Machine::set_pgrp(Process& process, const Ref<Pid>& pgrp) {
  ++changes_;
  const Ref<Pid> former = process.pgrp;
  if (former == pgrp) return;
  if (former) former->group.erase(former->group.iterator_to(process));
  process.pgrp = pgrp;
  pgrp->group.push_back(process);
  if (former) drop_if_unused(*former);
}

void Machine::set_session(Process& process, const Ref<Pid>& session) {
  ++changes_;
  const Ref<Pid> former = process.session;
  if (former == session) return;
  if (former) former->session.erase(former->session.iterator_to(process));
  process.session = session;
  session->session.push_back(process);
  if (former) drop_if_unused(*former);
}

void Machine::set_parent(Process& child, Process& parent) {
  ++changes_;
  child.parent->children.erase(child.parent->children.iterator_to(child));
  child.parent = &parent;
  parent.children.push_back(child);
}

Task* Machine::find_lwp(const LwpId& id) const {
  const Pid* pid = root_ns_->find(id.nr);
  Task* task = pid ? pid->task : nullptr;
  return task && task->life == id.life && !task->exited ? task : nullptr;
}

Process* Machine::find_process(const LwpId& id) const {
  const Pid* pid = root_ns_->find(id.nr);
  Process* process = pid ? pid->process : nullptr;
  return process && process->life == id.life ? process : nullptr;
}

void Machine::start_fd_server() {
  CKPT_ASSERT(!fd_server_);
  fd_server_ = new FdServer;
  for (Process* p : all_) {
    if (p->tgid->nr_at(0) == kNrUnknown) continue;
    fd_server_->announce(p->tgid->nr_at(0));
    if (!p->zombie) publish(*p);
  }
}

void Machine::publish(Process& process) {
  if (!fd_server_ || process.tgid->nr_at(0) == kNrUnknown) return;
  if (!process.client) {
    process.client = fd_server_->enroll(process.tgid->nr_at(0), {});
    if (process.parent->client)
      process.client->set_environment(process.parent->client->environment());
  }
  process.client->set_files(process.files.get());
  process.client->set_name(process.leader->name());
}

void Machine::set_environment(Process& process, std::optional<std::string> environment) {
  if (process.client) process.client->set_environment(std::move(environment));
}

std::optional<std::uint16_t> Machine::node(std::string_view name) {
  auto it = std::find(nodes_.begin(), nodes_.end(), name);
  if (it == nodes_.end()) {
    if (nodes_.size() == format::kMaxNodes || name.empty() || name.size() > format::kMaxNodeName)
      return {};
    it = nodes_.emplace(it, name);
  }
  return static_cast<std::uint16_t>(it - nodes_.begin());
}

void Machine::drop_if_unused(Pid& pid) {
  if (!pid.in_use()) pid.free_numbers();
}

}  // namespace ckpt::core
