// The records of what is under way, and of how the machine came about.
#include "core/checkpoint.h"

namespace ckpt::core {

using namespace format;

void Checkpoint::look_for_requests() {
  for (const core::Request& request : machine_.requests().all()) {
    const Process* p = machine_.find_process(request.process);
    if (p && in_tree(*p)) requests_.push_back(&request);
  }
}

// The identities become references to pid objects: what an image has instead of them.
void Checkpoint::write_requests(RecordSink& out) const {
  for (const core::Request* request : requests_) {
    format::Request r{};
    r.process = objhash_.lookup(*machine_.find_process(request->process)->tgid);
    const Task* lwp = machine_.find_lwp(request->lwp);
    r.lwp = lwp ? objhash_.lookup(*lwp->pid) : 0;
    r.kind = request->kind;
    r.fd = request->fd;
    r.file_objref = request->file ? objhash_.lookup(*request->file) : 0;
    r.who = request->who;
    // Pids alone are collected before this, so a number is that of a pid.
    r.target = request->target ? objhash_.lookup(*request->target) : 0;
    r.options = request->options;
    r.bytes = request->bytes;
    r.offset = request->offset;
    r.data = request->data;
    out.record(RecordType::request, r);
  }
}

// As many of the last lines as an image may hold.
void Checkpoint::write_trace(RecordSink& out) const {
  const std::deque<TraceRecord>& records = options_.trace->records();
  std::size_t first = records.size();
  std::uint64_t bytes = 0;
  std::uint64_t time = options_.trace->now();
  while (first > 0) {
    const std::size_t line = trace_line(records[first - 1], time - 1, machine_.nodes()).size() + 1;
    if (bytes + line > kMaxTraceBytes / 2) break;
    bytes += line;
    --first;
    --time;
  }
  std::string chunk;
  const auto flush = [&] {
    if (!chunk.empty()) out.record(RecordType::trace, chunk.data(), chunk.size());
    chunk.clear();
  };
  for (std::size_t i = first; i < records.size(); ++i) {
    std::string line =
        trace_line(records[i], time++, machine_.nodes()).substr(0, kTraceChunk - 1) + '\n';
    if (chunk.size() + line.size() > kTraceChunk) flush();
    chunk += line;
  }
  flush();
}

}  // namespace ckpt::core
