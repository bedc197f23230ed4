// Requests under way: reads, writes and waits in flight, asynchronous I/O.
#include "core/sim/history_replay.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

using core::Request;

namespace {

std::optional<format::RequestKind> kind_of(std::string_view opcode) {
  if (opcode == "IOCB_CMD_PREAD" || opcode == "IOCB_CMD_PREADV") return format::kRequestAsyncRead;
  if (opcode == "IOCB_CMD_PWRITE" || opcode == "IOCB_CMD_PWRITEV")
    return format::kRequestAsyncWrite;
  return {};
}

std::int64_t number_in(std::string_view text, std::string_view field) {
  return parse_integer(struct_field(text, field).value_or("")).value_or(-1);
}

}  // namespace

// A call has been entered; if it sleeps, the LWP waits in it.
void Replay::begin_request(const Call& call, std::uint32_t index) {
  const auto known = log_.asked.find(index);
  Task* task = task_of(call.actor);
  if (known == log_.asked.end() || !task || task->exited || task->process->exiting) return;
  const Asked& asked = known->second;
  Request request;
  if (asked.op != Op::wait) {
    request.kind = asked.op == Op::read ? format::kRequestRead : format::kRequestWrite;
    if (asked.a[0] < 0 || asked.a[0] > INT32_MAX) return;
    request.fd = static_cast<int>(asked.a[0]);
  } else {
    if (asked.a[1] & kWaitNohang) return;
    const std::int64_t nr = asked.a[0];
    const bool group = asked.a[3] == static_cast<std::int64_t>(IdType::pgid) ||
                       (asked.a[3] == kAnyChild && nr < -1);
    const bool any = asked.a[3] == static_cast<std::int64_t>(IdType::all) ||
                     (asked.a[3] == kAnyChild && nr == -1);
    request.kind = format::kRequestWait;
    request.options = static_cast<unsigned>(asked.a[1]) | kWaitExited;
    request.who = any       ? format::kWaitAny
                  : nr == 0 ? format::kWaitOwnGroup
                  : group   ? format::kWaitGroup
                            : format::kWaitPid;
    if (!any && nr != 0 && std::abs(nr) <= core::kPidMax)
      request.target = task->process->ns()->find(static_cast<Nr>(std::abs(nr)));
  }
  requests_[index] = kernel_.ask(*task, std::move(request));
}

// It has taken effect, or failed.
void Replay::end_request(std::uint32_t index) {
  const auto known = requests_.find(index);
  if (known == requests_.end()) return;
  m_.requests().end(known->second);
  requests_.erase(known);
}

// io_submit: the first `result` of the list belong to the process from now on.
void Replay::do_submit(const Call& call, Task& task) {
  const auto list = parse_list(log_.texts[call.text]);
  if (!list) return;
  for (std::size_t i = 0; i < list->size() && static_cast<std::int64_t>(i) < call.result; ++i) {
    const std::string_view text = (*list)[i];
    const auto kind = kind_of(struct_field(text, "aio_lio_opcode").value_or(""));
    const std::int64_t fd = number_in(text, "aio_fildes");
    if (!kind || !have_fd(task, fd)) continue;
    Request request;
    request.kind = *kind;
    request.fd = static_cast<int>(fd);
    request.bytes =
        static_cast<std::uint64_t>(std::max<std::int64_t>(0, number_in(text, "aio_nbytes")));
    request.offset = std::max<std::int64_t>(-1, number_in(text, "aio_offset"));
    request.data = static_cast<std::uint64_t>(number_in(text, "aio_data"));
    kernel_.ask(task, std::move(request));
  }
}

// io_getevents, by any LWP of the process: these are done.
void Replay::do_collect(const Call& call, Task& task) {
  const auto list = parse_list(log_.texts[call.text]);
  if (!list) return;
  for (const std::string_view text : *list) {
    const auto data = static_cast<std::uint64_t>(number_in(text, "data"));
    const Request* request = m_.requests().of_data(core::actor_of(task).process, data);
    if (request) kernel_.retry(request->number, static_cast<long>(number_in(text, "res")));
  }
}

}  // namespace ckpt::sim::history
