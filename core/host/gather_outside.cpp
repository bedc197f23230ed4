// What /proc tells of a frozen process, and other system calls that ask for its threads by number.
// All processes of a tree are read at a time.
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "core/host/fdinfo_state.h"
#include "core/host/in_parts.h"
#include "core/host/mapped_files.h"
#include "core/host/page_scan.h"
#include "core/host/proc_fs.h"
#include "core/host/process_state.h"
#include "core/host/reading.h"
#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

std::string dir_of(pid_t pid) {
  return std::to_string(pid);
}

// As in PLACEMENT; empty if the kernel does not tell.
std::vector<format::u64le> processors_of(pid_t tid) {
  std::vector<format::u64le> words(format::kMaxProcessorWords);
  const long bytes =
      ::syscall(SYS_sched_getaffinity, tid, words.size() * sizeof words[0], words.data());
  words.resize(bytes > 0 ? static_cast<std::size_t>(bytes) / sizeof words[0] : 0);
  while (!words.empty() && words.back() == 0) words.pop_back();
  return words;
}

// /proc/PID/timers: "ID: 0", "signal: 14/0000000000000000", "notify: signal/pid.12", "ClockID: 1".
std::vector<format::PosixTimer> parse_timers(std::string_view text) {
  std::vector<format::PosixTimer> out;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, colon), value = trim(line.substr(colon + 1));
    std::int32_t number = 0;
    if (key == "ID" && scan(value, number)) {
      out.emplace_back().id = number;
    } else if (out.empty()) {
      continue;
    } else if (key == "ClockID" && scan(value, number)) {
      out.back().clock = number;
    } else if (key == "signal") {
      const auto slash = value.find('/');
      std::uint64_t sigval = 0;
      if (slash != std::string_view::npos && scan(value.substr(0, slash), number) &&
          scan_base(value.substr(slash + 1), sigval, 16)) {
        out.back().signo = number;
        out.back().value = sigval;
      }
    } else if (key == "notify") {
      const auto dot = value.find('.');
      out.back().notify = value.starts_with("none") ? 1 : 0;  // SIGEV_NONE, SIGEV_SIGNAL
      if (dot != std::string_view::npos && value.substr(0, dot).ends_with("tid") &&
          scan(value.substr(dot + 1), number)) {
        out.back().notify = out.back().notify | 4;  // SIGEV_THREAD_ID
        out.back().tid = number;
      }
    }
  }
  return out;
}

class Gatherer {
 public:
  Gatherer(const ProcessSnapshot& process, FrozenTree& tree, MappedFiles& files)
      : p_(process),
        tree_(tree),
        files_(files),
        dir_(window_dir(process)),
        window_(dir_of(window(process))) {}

  Result<ProcessState> run() {
    s_.snapshot = &p_;
    CKPT_TRY(s_.memory, ProcessMemory::open(window(p_)));
    CKPT_CHECK(read_mappings());
    CKPT_CHECK(read_guards());
    CKPT_CHECK(read_mm());
    read_signal();
    read_descriptors();
    for (FrozenThread* thread : tree_.threads_of(p_)) CKPT_CHECK(read_thread(*thread));
    return std::move(s_);
  }

 private:
  Status read_mappings() {
    CKPT_TRY(const std::string text, kProc.read(dir_ + "/smaps"));
    CKPT_TRY(s_.mappings, parse_smaps(text));
    std::uint64_t before = 1ULL << 32, widest = 0;
    for (std::size_t i = 0; i < s_.mappings.size(); ++i) {
      const Mapping& m = s_.mappings[i];
      if (m.name == "[vdso]") {
        s_.site.vdso = m.start;
        s_.site.vdso_size = m.end - m.start;
      }
      if (m.start > before && m.start < kTaskSize && m.start - before > widest) {
        widest = m.start - before;
        s_.site.hole = (before + widest / 2) & ~0xfffULL;
      }
      before = std::max(before, m.end);
      if (!m.is_kernels()) add_vma(i);
    }
    return {};
  }

  Status read_guards() {
    CKPT_TRY(s_.pages, PageScanner::open(window(p_)));
    if (s_.mm.vmas.empty()) return {};
    const auto first = s_.mm.vmas.front().vma.vm_start, last = s_.mm.vmas.back().vma.vm_end;
    auto vma = s_.mm.vmas.begin();
    for (const PageRange& found : s_.pages.guards(first, std::min<std::uint64_t>(last, kTaskSize)))
      for (; vma != s_.mm.vmas.end() && vma->vma.vm_start < found.end; ++vma) {
        const std::uint64_t begin = std::max<std::uint64_t>(found.begin, vma->vma.vm_start);
        const std::uint64_t end = std::min<std::uint64_t>(found.end, vma->vma.vm_end);
        if (begin < end) s_.mm.guards.push_back({begin, end});
        if (end == found.end) break;  // the mapping may have more
      }
    return {};
  }

  void add_vma(std::size_t index) {
    const Mapping& m = s_.mappings[index];
    format::ImageVma out;
    format::Vma& v = out.vma;
    const bool file = m.ino != 0 && m.name.starts_with('/');
    const bool shm = m.shared && (!file || (m.name == "/dev/zero" && m.deleted));
    v.vma_type = shm        ? format::kVmaShmAnon
                 : !file    ? format::kVmaAnon
                 : m.shared ? format::kVmaShmFile
                            : format::kVmaFile;
    v.vm_start = m.start;
    v.vm_end = m.end;
    v.vm_page_prot = m.protection;
    v.vm_flags = flags_of(m);
    if (file || shm) v.vm_pgoff = m.offset;
    if (file && !shm) {
      out.path = m.name;
      if (m.shared && m.has("mw")) v.vm_flags |= format::kVmaMayWrite;
    }
    if (const auto st = file || shm ? status_of(m) : std::nullopt) {
      v.dev = st->st_dev;
      v.ino = st->st_ino;
      const auto size = static_cast<std::uint64_t>(st->st_size);
      if (shm) {
        v.ino_size = (size + 0xfff) & ~0xfffULL;
      } else {
        v.size = size;
        v.mtime_ns = std::int64_t{st->st_mtim.tv_sec} * 1000000000 + st->st_mtim.tv_nsec;
      }
    }
    s_.mm.vmas.push_back(std::move(out));
    s_.vma_mapping.push_back(index);
  }

  // The mapped file itself where that is permitted, else what has its name.
  std::optional<struct stat> status_of(const Mapping& m) const {
    return files_.find(
        {p_.ns.mnt, m.dev_major, m.dev_minor, m.ino, m.name}, [&]() -> std::optional<struct stat> {
          const auto own = kProc.status(window_ + "/map_files/" + range_of(m));
          if (!own.has_error()) return *own;
          struct stat st {};
          if (::stat(m.name.c_str(), &st) == 0 && st.st_ino == m.ino) return st;
          return {};
        });
  }

  static std::string range_of(const Mapping& m) {
    char range[64];
    std::snprintf(range, sizeof range, "%lx-%lx", static_cast<unsigned long>(m.start),
                  static_cast<unsigned long>(m.end));
    return range;
  }

  static std::uint64_t flags_of(const Mapping& m) {
    static const struct {
      std::string_view code;
      std::uint64_t flag;
    } kFlags[] = {{"gd", format::kVmaGrowsDown},  {"lo", format::kVmaLocked},
                  {"dc", format::kVmaDontFork},   {"nr", format::kVmaNoReserve},
                  {"wf", format::kVmaWipeOnFork}, {"dd", format::kVmaDontDump},
                  {"hg", format::kVmaHugePage},   {"nh", format::kVmaNoHugePage},
                  {"mg", format::kVmaMergeable},  {"sr", format::kVmaSequential},
                  {"rr", format::kVmaRandom}};
    std::uint64_t flags = 0;
    std::string_view rest = m.flags;
    while (const auto word = next_word(rest))
      for (const auto& f : kFlags)
        if (*word == f.code) flags |= f.flag;
    return flags;
  }

  Status read_mm() {
    MemoryBounds bounds = p_.memory;
    if (p_.state == ProcState::dead) {
      CKPT_TRY(const std::string text, kProc.read_record(dir_ + "/stat"));
      CKPT_TRY(const ProcStat stat, parse_stat(text));
      bounds = stat.memory;
    }
    format::Mm& mm = s_.mm.mm;
    mm.map_count = static_cast<std::uint32_t>(s_.mm.vmas.size());
    mm.start_code = bounds.start_code;
    mm.end_code = bounds.end_code;
    mm.start_stack = bounds.start_stack;
    mm.start_data = bounds.start_data;
    mm.end_data = bounds.end_data;
    mm.start_brk = bounds.start_brk;
    mm.arg_start = bounds.arg_start;
    mm.arg_end = bounds.arg_end;
    mm.env_start = bounds.env_start;
    mm.env_end = bounds.env_end;
    mm.vdso = s_.site.vdso;
    s_.mm.exe = p_.exe;
    if (const auto st = kProc.status(dir_ + "/exe"); !st.has_error()) {
      mm.exe_dev = st.value().st_dev;
      mm.exe_ino = st.value().st_ino;
    }
    CKPT_TRY(const std::string auxv, kProc.read_record(dir_ + "/auxv"));
    const auto bytes = std::as_bytes(std::span(auxv));
    s_.mm.auxv.assign(bytes.begin(), bytes.end());
    return {};
  }

  void read_signal() {
    format::Signal& g = s_.signal.signal;
    const auto score = kProc.read_record(dir_of(p_.pid) + "/oom_score_adj");
    std::int32_t adj = 0;
    if (!score.has_error()) scan(trim(score.value()), adj);
    g.oom_score_adj = adj;
    const auto timers = kProc.read(dir_of(p_.pid) + "/timers");
    if (!timers.has_error()) s_.signal.timers = parse_timers(*timers);
    const auto filter = kProc.read_record(window_ + "/coredump_filter");
    std::uint32_t bits = 0;
    if (!filter.has_error()) scan_base(trim(filter.value()), bits, 16);
    g.coredump_filter = bits;
  }

  static bool has_inside(FdType type) {
    return type == FdType::eventfd || type == FdType::signalfd || type == FdType::timerfd ||
           type == FdType::epoll;
  }

  // What cannot be read or understood is left out here and found among the obstacles.
  void read_descriptors() {
    for (const FdEntry& fd : p_.fds) {
      if (!has_inside(tree_.snapshot().files[fd.file].type)) continue;
      const auto text = kProc.read_record(dir_ + "/fdinfo/" + std::to_string(fd.fd));
      if (text.has_error()) continue;
      DescriptorState d{fd.fd, parse_file_state(text.value())};
      if (d.image.state.kind == format::kEventfd) s_.tells_semaphores &= tells_semaphore(*text);
      if (d.image.state.kind != 0) s_.descriptors.push_back(std::move(d));
    }
  }

  Status read_thread(FrozenThread& frozen) {
    ThreadState t;
    t.tid = frozen.tracee.tid();
    t.frozen = &frozen;
    if (frozen.regs_readable) {
      std::uint64_t head = 0, length = 0;
      if (::syscall(SYS_get_robust_list, t.tid, &head, &length) == 0) {
        t.robust_list = head;
        t.robust_list_length = static_cast<std::uint32_t>(length);
      }
      read_scheduling(t);
      read_placement(t);
      CKPT_CHECK(read_credentials(t));
    }
    s_.threads.push_back(std::move(t));
    return {};
  }

  static void read_scheduling(ThreadState& t) {
    struct {
      std::uint32_t size, policy;
      std::uint64_t flags;
      std::int32_t nice;
      std::uint32_t priority;
      std::uint64_t runtime, deadline, period;
      std::uint32_t util_min, util_max;
    } attr{};
    if (::syscall(SYS_sched_getattr, t.tid, &attr, sizeof attr, 0) != 0) return;
    t.image.thread.sched_policy = attr.policy;
    t.image.thread.sched_priority = attr.priority;
    t.image.thread.nice = attr.nice;
    t.image.thread.sched_flags = static_cast<std::uint32_t>(attr.flags);
  }

  static void read_placement(ThreadState& t) {
    constexpr int kWhoThread = 1;  // IOPRIO_WHO_PROCESS
    const long priority = ::syscall(SYS_ioprio_get, kWhoThread, t.tid);
    if (priority > 0) t.image.io_priority = static_cast<std::uint32_t>(priority);
    // Who may run on all, or on those that ckpt may, is not bound: elsewhere it has what is there.
    static const std::vector<format::u64le> kOurs = processors_of(0);
    static const auto kAll = static_cast<std::size_t>(::sysconf(_SC_NPROCESSORS_ONLN));
    std::vector<format::u64le> theirs = processors_of(t.tid);
    std::size_t count = 0;
    for (const std::uint64_t word : theirs) count += static_cast<std::size_t>(std::popcount(word));
    if (theirs != kOurs && count < kAll) t.image.processors = std::move(theirs);
  }

  Status read_credentials(ThreadState& t) {
    const std::string& status = p_.thread(t.tid).status;
    CKPT_TRY(t.cred, parse_credentials(status));
    s_.shadow_stack |= status.find("x86_Thread_features:\tshstk") != std::string::npos;
    return {};
  }

  const ProcessSnapshot& p_;
  FrozenTree& tree_;
  MappedFiles& files_;
  // A dead leader's own files in /proc are empty.
  const std::string dir_, window_;
  ProcessState s_;
};

}  // namespace

std::string Obstacle::text() const {
  return "process " + std::to_string(pid) + " (" + comm + "): " + object + ": " + why +
         (hint.empty() ? "" : " (" + hint + ")");
}

Result<ProcessState> gather_outside(const ProcessSnapshot& process, FrozenTree& tree) {
  MappedFiles files;
  CKPT_TRY(ProcessState state, Gatherer(process, tree, files).run());
  CKPT_CHECK(gather_traced(state));
  return state;
}

Result<std::vector<ProcessState>> gather_outside(FrozenTree& tree) {
  std::vector<const ProcessSnapshot*> alive;
  for (const ProcessSnapshot& p : tree.snapshot().processes)
    if (p.state != ProcState::zombie) alive.push_back(&p);
  std::vector<ProcessState> states(alive.size());
  const auto part = [&](std::size_t begin, std::size_t end) -> Status {
    MappedFiles files;
    for (std::size_t i = begin; i < end; ++i) {
      CKPT_TRY(states[i], Gatherer(*alive[i], tree, files).run());
    }
    return {};
  };
  CKPT_CHECK(in_parts(alive.size(), part));
  for (ProcessState& state : states) CKPT_CHECK(gather_traced(state));
  return states;
}

}  // namespace ckpt::host
