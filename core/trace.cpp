#include "core/trace.h"

#include <algorithm>
#include <array>

#include "core/task.h"

namespace ckpt::core {

namespace {
std::size_t size_of(const TraceRecord& record) {
  return sizeof record + record.text.size();
}
std::string number(const LwpId& id) {
  return id.nr == kNrUnknown ? "?" : std::to_string(id.nr);
}
}  // namespace

const char* trace_kind_name(TraceKind kind) {
  constexpr std::array<const char*, kTraceKinds> kNames = {
      "call", "entry", "return", "signal", "end", "name", "io", "task", "server"};
  return kNames[static_cast<std::size_t>(kind)];
}

void Trace::add(const TraceActor& who, TraceKind kind, std::string text, std::uint16_t node) {
  records_.push_back({who, kind, node, std::move(text)});
  bytes_ += size_of(records_.back());
  while (bytes_ > most_bytes_ && records_.size() > 1) {
    bytes_ -= size_of(records_.front());
    records_.pop_front();
    ++dropped_;
  }
}

bool Trace::finish_entry(const TraceActor& who, std::string_view rest) {
  if (records_.empty()) return false;
  TraceRecord& last = records_.back();
  if (last.kind != TraceKind::entry || !(last.who == who)) return false;
  last.kind = TraceKind::call;
  last.text += rest;
  bytes_ += rest.size();
  return true;
}

std::vector<TraceRecord> Trace::take_back(std::uint64_t time) {
  std::vector<TraceRecord> acted;
  if (time <= dropped_) time = dropped_ + 1;
  const auto from = records_.begin() + static_cast<std::ptrdiff_t>(time - dropped_ - 1);
  const auto kept = std::remove_if(from, records_.end(), [&](TraceRecord& record) {
    const bool by_server = record.kind == TraceKind::server;
    const bool back = by_server || record.kind == TraceKind::name || record.kind == TraceKind::io;
    if (back) bytes_ -= size_of(record);
    if (by_server) acted.push_back(std::move(record));
    return back;
  });
  records_.erase(kept, records_.end());
  return acted;
}

TraceActor actor_of(const Task& task) {
  const Process& p = *task.process;
  return {{p.tgid->nr_at(0), p.life}, {task.pid->nr_at(0), task.life}};
}

std::string to_string(const TraceActor& who) {
  return number(who.process) + "/" + number(who.lwp);
}

std::string trace_line(const TraceRecord& record, std::uint64_t time,
                       const std::vector<std::string>& nodes) {
  std::string line = is_note(record.kind) ? "# " : "";
  const bool server = record.who.process.nr == 0;
  // File servers are on no node.
  if (!server && !nodes.empty()) line += "[" + nodes.at(record.node) + "] ";
  line += server ? "0/" + std::to_string(record.who.lwp.life) : to_string(record.who);
  line += " " + std::to_string(time) + " " + record.text;
  if (record.kind == TraceKind::entry) line += " <unfinished ...>";
  return line;
}

void print_trace(const Trace& trace, const std::vector<std::string>& nodes, std::ostream& out) {
  out << "# trace: " << (nodes.empty() ? "" : "[NODE] ")
      << "PID/LWP TIME EVENT; behind a # what the kernel did because of it\n";
  if (trace.dropped() > 0) out << "# " << trace.dropped() << " records before these are gone\n";
  std::uint64_t time = trace.first_time();
  for (const TraceRecord& record : trace.records())
    out << trace_line(record, time++, nodes) << '\n';
}

}  // namespace ckpt::core
