#include "cli/image_facts.h"

#include <cstring>

#include "cli/output.h"
#include "format/describe.h"

namespace ckpt::cli {

namespace {

// Processes in the order of a walk from the roots: as the image has them, made sure of.
void link_children(ImageFacts& facts) {
  std::vector<std::uint32_t> last_child(facts.processes.size(), kNone);
  for (std::uint32_t i = 0; i < facts.processes.size(); ++i) {
    ProcessFacts& p = facts.processes[i];
    const std::uint32_t parent_pid = facts.pid_index(facts.leader(p).ppid);
    if (parent_pid == kNone) continue;
    p.parent = facts.uses[parent_pid].process;
    if (p.parent == kNone) continue;
    ProcessFacts& parent = facts.processes[p.parent];
    p.depth = parent.depth + 1;
    if (parent.first_child == kNone)
      parent.first_child = i;
    else
      facts.processes[last_child[p.parent]].next_sibling = i;
    last_child[p.parent] = i;
  }
}

}  // namespace

const char* state_name(ProcessState state) {
  switch (state) {
    case ProcessState::running:
      return "running";
    case ProcessState::stopped:
      return "stopped";
    case ProcessState::zombie:
      return "zombie";
    case ProcessState::dead:
      return "dead";
    case ProcessState::exiting:
      return "exiting";
  }
  return "";
}

ImageFacts::ImageFacts(const format::Image& of)
    : image(of), uses(of.pids.size()), ns_inits(of.namespaces.size(), kNone) {
  for (std::uint32_t i = 0; i < image.namespaces.size(); ++i)
    namespace_at_[image.namespaces[i].objref] = i;
  for (std::uint32_t i = 0; i < image.tree.size(); ++i) {
    const format::TreeEntry& e = image.tree[i];
    const std::uint32_t pid = pid_index(e.pid);
    if (pid != kNone) uses[pid].task = i;
    if (!processes.empty() && leader(processes.back()).tgid == e.tgid) {
      ++processes.back().threads;
      continue;
    }
    const auto process = static_cast<std::uint32_t>(processes.size());
    processes.push_back({i});
    if (const std::uint32_t tgid = pid_index(e.tgid); tgid != kNone) {
      uses[tgid].process = process;
      const std::uint32_t ns = image.ns_of(tgid);
      if (ns < ns_inits.size() && image.pids.numbers(tgid).back() == 1) ns_inits[ns] = process;
    }
    if (const std::uint32_t pgid = pid_index(e.pgid); pgid != kNone) ++uses[pgid].in_group;
    if (const std::uint32_t sid = pid_index(e.sid); sid != kNone) ++uses[sid].in_session;
  }
  for (const PidUse& use : uses) ghosts += use.ghost();
  link_children(*this);
  for (const format::ImagePipeBuf& buf : image.pipe_bufs) {
    InFlight& f = in_flight[buf.head.pipe_objref];
    f.bytes += buf.head.length;
    f.known &= buf.head.flags == 0;
    f.uncertain = buf.head.flags == format::kPipeUncertain;
  }
  for (const format::Request& request : image.requests)
    requests[request.process].push_back(&request);
  for (const format::FileLock& lock : image.locks) locks[lock.file_objref].push_back(&lock);
  for (const format::SocketPair& pair : image.socket_pairs) {
    peers[pair.one] = pair.other;
    peers[pair.other] = pair.one;
  }
  for (const format::ImageSocket& s : image.process.sockets) sockets[s.socket.file_objref] = &s;
}

ProcessState ImageFacts::state(const ProcessFacts& p) const {
  if (image.kin_of(p.first).exiting != 0) return ProcessState::exiting;
  if (image.zombie(p.first)) return p.threads > 1 ? ProcessState::dead : ProcessState::zombie;
  if (image.tasks[p.first].state == format::kTaskStopped) return ProcessState::stopped;
  return ProcessState::running;
}

std::optional<std::int32_t> ImageFacts::root_nr(std::int32_t ref) const {
  const std::uint32_t pid = pid_index(ref);
  if (pid == kNone) {
    if (ref == format::kRefAbsent) return {};
    return 0;
  }
  const std::int32_t nr = image.pids.numbers(pid).front();
  if (nr == format::kNrUnknown) return {};
  return nr;
}

std::string ImageFacts::numbers(std::uint32_t pid) const {
  std::string s;
  for (const std::int32_t nr : image.pids.numbers(pid)) {
    if (!s.empty()) s += '/';
    s += nr == format::kNrUnknown ? "?" : std::to_string(nr);
  }
  return s;
}

std::string ImageFacts::pid(const ProcessFacts& p) const {
  const std::uint32_t pid = pid_index(leader(p).tgid);
  return pid == kNone ? "?" : numbers(pid);
}

std::string ImageFacts::request(const format::Request& r) const {
  const auto shown = [&](std::int32_t ref) {
    const std::uint32_t pid = pid_index(ref);
    return pid == kNone ? std::string("?") : numbers(pid);
  };
  return (r.lwp == 0 ? "" : shown(r.lwp) + ": ") + format::request_text(r, shown(r.target));
}

std::string ImageFacts::name(const ProcessFacts& p) const {
  return printable(image.comm(p.first)) + " " + pid(p);
}

const ProcessFacts* ImageFacts::find(std::int32_t pid) const {
  for (const ProcessFacts& p : processes)
    if (root_nr(leader(p).tgid) == pid) return &p;
  return nullptr;
}

const char* socket_type_name(const format::ImageSocket& socket) {
  return socket.socket.type == format::kStream     ? "stream"
         : socket.socket.type == format::kDatagram ? "datagram"
                                                   : "seqpacket";
}

std::string describe_exit(std::uint32_t status) {
  const int sig = static_cast<int>(status & 0x7f);
  if (sig == 0) return "exited with " + std::to_string(status >> 8 & 0xff);
  const char* name = ::sigabbrev_np(sig);
  std::string s =
      name ? std::string("killed by SIG") + name : "killed by signal " + std::to_string(sig);
  if (status & 0x80) s += ", core dumped";
  return s;
}

}  // namespace ckpt::cli
