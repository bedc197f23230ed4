#include "core/request.h"

#include <algorithm>

#include "core/task.h"

namespace ckpt::core {

Request& Requests::ask(const Task& task, Request request) {
  const TraceActor who = actor_of(task);
  if (!request.asynchronous())
    if (const Request* former = of_lwp(who.lwp)) end(former->number);
  return ask_for(*task.process, who.lwp, std::move(request));
}

Request& Requests::ask_for(const Process& process, const LwpId& lwp, Request request) {
  request.number = ++numbers_;
  request.process = {process.tgid->nr_at(0), process.life};
  request.lwp = lwp;
  return all_.emplace_back(std::move(request));
}

Request* Requests::find(std::uint64_t number) {
  const auto at = std::ranges::find(all_, number, &Request::number);
  return at == all_.end() ? nullptr : &*at;
}

Request* Requests::of_lwp(const LwpId& lwp) {
  const auto at = std::ranges::find_if(
      all_, [&](const Request& r) { return r.lwp == lwp && !r.asynchronous(); });
  return at == all_.end() ? nullptr : &*at;
}

Request* Requests::of_data(const LwpId& process, std::uint64_t data) {
  const auto at = std::ranges::find_if(all_, [&](const Request& r) {
    return r.process == process && r.asynchronous() && r.data == data;
  });
  return at == all_.end() ? nullptr : &*at;
}

void Requests::end(std::uint64_t number) {
  all_.remove_if([&](const Request& r) { return r.number == number; });
}

void Requests::cancel_of_lwp(const LwpId& lwp) {
  cancelled_ += all_.remove_if([&](const Request& r) { return r.lwp == lwp && !r.asynchronous(); });
}

void Requests::cancel_of_process(const LwpId& process, bool asynchronous_alone) {
  cancelled_ += all_.remove_if([&](const Request& r) {
    return r.process == process && (r.asynchronous() || !asynchronous_alone);
  });
}

}  // namespace ckpt::core
