#include "restart/rebirth.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>

#include "core/host/proc_fs.h"
#include "core/host/process_state.h"
#include "format/describe.h"
#include "restart/rebirth_compile.h"
#include "restart/requirements.h"

namespace ckpt::restart {

struct Rebirth::Impl {
  SharedRegion region;
  Arena arena;  // directly behind the region
  OpenedFiles files;
  RebirthWords* words = nullptr;
  std::vector<std::vector<StepName>> names;  // by task; empty for those that are no leader
  std::vector<std::string> who;              // likewise: "100 (sh)"
  std::vector<std::size_t> with_threads;     // leaders of several threads that run
  std::vector<std::size_t> alone;            // leaders of a single one that runs
  // Leaders of processes that are stopped, with what each is to be; in tree order.
  struct Stopped {
    std::size_t leader = 0;
    std::vector<std::pair<std::uint64_t, host::ThreadPlace>> places;  // by where its part begins
    std::uint64_t child_action = 0;  // of SIGCHLD, to be set; 0: no need
  };
  std::vector<Stopped> stopped;
  std::size_t silent = 0;  // processes that run, and are not told of stops until settle()
  std::size_t tasks = 0;
  int first_fd = 0;
  int pages_fd = -1;  // PageStore's, as ours

  void map_arena();
  void await_departure(pid_t pid) const;
  void add_stopped(const ProcessCompiler& compiler, std::size_t leader,
                   const std::vector<std::pair<std::uint64_t, std::size_t>>& parts);
  void open_gate(std::uint32_t to) const;
};

namespace {

// More than enough for the programs: memory that is never touched costs nothing.
std::uint64_t region_size(const format::Image& image, const PageStore& pages, const Arena& arena,
                          bool count_timers) {
  std::uint64_t size = 1 << 20;
  for (const format::ImageMm& mm : image.process.mms) {
    size += (128 << 10) + mm.vmas.size() * 1024 + mm.guards.size() * 128;
    for (const PageStore::Run& run : pages.runs(mm.ref))
      size += 128 + run.count * format::kPageSize / PageStore::kStep * 128;
  }
  for (const format::ImageThread& t : image.process.threads)
    size += (16 << 10) + t.xstate.size() + t.pending.size() * 512;
  for (const format::ImageSignal& s : image.process.signals) {
    size += s.pending.size() * 512 + s.timers.size() * 1024;
    for (const format::PosixTimer& t : s.timers)
      if (count_timers) size += static_cast<std::uint64_t>(t.id.value());
  }
  for (const format::ImageCred& c : image.process.creds)
    size += c.groups.size() * 8 * image.process.threads.size();
  size += image.locks.size() * 256;
  for (const format::ImageFileState& s : image.process.file_states) size += s.watches.size() * 256;
  for (const format::ImageFileTable& t : image.file_tables) size += t.fds.size() * 256;
  std::uint64_t longest = 0;  // of the names of directories
  for (const format::ImageFs& f : image.fs)
    longest = std::max<std::uint64_t>(longest, f.root.size() + f.cwd.size());
  size += longest * image.process.mms.size();
  for (std::size_t i = 0; i < image.tree.size(); ++i)
    if (const Arena::Share* const share = arena.share(i))
      size += (share->moves.size() + share->same.size() + share->stale.size()) * 128;
  constexpr std::uint64_t kUnit = Arena::kAlignment;
  return (size + kUnit - 1) & ~(kUnit - 1);
}

// An address range (of the arena's alignment) that nothing uses, neither here nor in any process of
// the image.
Result<std::uint64_t> find_hole(const format::Image& image, std::uint64_t size) {
  std::vector<std::pair<std::uint64_t, std::uint64_t>> used;
  CKPT_TRY(const std::string text, host::kProc.read("self/maps"));
  CKPT_TRY(const auto own, host::parse_smaps(text));
  for (const host::Mapping& m : own) used.emplace_back(m.start, m.end);
  for (const format::ImageMm& mm : image.process.mms) {
    for (const format::ImageVma& v : mm.vmas) used.emplace_back(v.vma.vm_start, v.vma.vm_end);
    used.emplace_back(mm.mm.vdso - image.process.platform.vvar_size,
                      mm.mm.vdso + image.process.vdso.size());
  }
  std::sort(used.begin(), used.end());
  constexpr std::uint64_t kLowest = 1ULL << 32, kHighest = 1ULL << 46;
  // Space around it: stacks and heaps of ours may grow.
  constexpr std::uint64_t kRoom = 1ULL << 30, kUnit = Arena::kAlignment;
  std::uint64_t before = kLowest;
  for (const auto& [begin, end] : used) {
    if (begin >= before + size + 2 * kRoom && before + size + 2 * kRoom <= kHighest)
      return (before + kRoom) & ~(kUnit - 1);
    before = std::max(before, end);
  }
  if (before + size + 2 * kRoom <= kHighest) return (before + kRoom) & ~(kUnit - 1);
  return cannot("cannot restore", "no address range is free in all processes", {}, ENOMEM);
}

// Memory and registers mean something only where vdso and processor are alike.
Status check_platform(const format::Image& image) {
  const auto unmet = unmet_platform(image);
  if (unmet.empty()) return {};
  return cannot("cannot restore", unmet.front().what, unmet.front().hint, ENOTSUP);
}

int highest_fd(const format::Image& image) {
  int highest = 2;
  for (const format::ImageFileTable& t : image.file_tables)
    for (const format::FileDesc& d : t.fds) highest = std::max(highest, d.fd_descriptor.value());
  return highest;
}

Status raise_limit(int least) {
  const std::uint64_t limit = host::raise_descriptor_limit();
  if (limit > static_cast<std::uint64_t>(least)) return {};
  return cannot("cannot restore",
                "the image uses descriptor " + std::to_string(least) + ", but the limit here is " +
                    std::to_string(limit),
                "raise it: ulimit -Hn", EMFILE);
}

Status fill_shared(const PageStore& pages, std::int32_t objref, void* at) {
  for (const PageStore::Run& run : pages.runs(objref)) {
    if (run.offset == PageStore::kZeros) continue;
    auto* to = static_cast<std::byte*>(at) + run.address;
    std::uint64_t left = run.count * format::kPageSize, from = run.offset;
    while (left > 0) {
      const ssize_t n =
          ::pread(pages.fd(), to, std::min(left, PageStore::kStep), static_cast<off_t>(from));
      if (n <= 0) return cannot("cannot restore shared memory", "reading its pages", {}, errno);
      pages.give_back(from, static_cast<std::uint64_t>(n));
      to += n;
      from += static_cast<std::uint64_t>(n);
      left -= static_cast<std::uint64_t>(n);
    }
  }
  return {};
}

}  // namespace

bool Rebirth::possible(const format::Image& image) {
  return image.has_memory();
}

Result<Rebirth> Rebirth::prepare(const format::Image& image, const Forest& forest,
                                 const PageStore& pages, const RebirthOptions& options) {
  if (!possible(image))
    return cannot("cannot restore", "the image holds no memory and no registers",
                  "it can be rehearsed: --rehearse");
  CKPT_CHECK(check_platform(image));
  const int first_fd = highest_fd(image) + 1;
  CKPT_CHECK(raise_limit(first_fd + 16));
  auto impl = std::make_unique<Impl>(
      Impl{{}, {}, OpenedFiles(first_fd), nullptr, {}, {}, {}, {}, {}, 0, 0, first_fd, -1});
  if (options.plan) impl->arena = Arena(image, forest, *options.plan, pages);
  const std::uint64_t size = region_size(image, pages, impl->arena, options.count_timers);
  CKPT_TRY(const std::uint64_t hole, find_hole(image, size + impl->arena.size()));
  CKPT_TRY(impl->region, SharedRegion::map(hole, size));
  impl->words = impl->region.make<RebirthWords>();

  // The code has a page of its own, which can be executed and not written to.
  const auto code = host::stub_code();
  void* const at = impl->region.take(format::kPageSize, format::kPageSize);
  std::memcpy(at, code.data(), code.size());
  impl->region.take(format::kPageSize, format::kPageSize);
  if (::mprotect(at, format::kPageSize, PROT_READ | PROT_EXEC) != 0)
    return cannot("cannot prepare the restore", "no memory to be executed", {}, errno);
  impl->words->code = SharedRegion::address(at);

  CKPT_CHECK(impl->files.open_files(image, pages));
  CKPT_TRY(const int pages_fd, impl->files.adopt(pages.fd()));
  impl->pages_fd = pages_fd;
  impl->map_arena();
  std::map<std::int32_t, int> shared_fds;
  std::set<std::int32_t> epolls, owned;
  std::set<const format::FileLock*> locked;
  std::set<std::uint32_t> proc_mounts;
  CKPT_TRY(const std::vector<int> spaces, impl->files.open_spaces(image));
  for (const format::ImageShm& shm : image.process.shms) {
    CKPT_TRY(shared_fds[shm.ref], impl->files.shared_memory(shm, [&](void* memory) {
      return fill_shared(pages, shm.ref, memory);
    }));
  }
  const ImageIndex index(image);
  Inherited inherited = Inherited::read();
  if (options.groups) inherited.groups = *options.groups;
  CompileContext context{image,
                         forest,
                         pages,
                         options,
                         index,
                         inherited,
                         impl->files,
                         shared_fds,
                         epolls,
                         owned,
                         locked,
                         spaces,
                         proc_mounts,
                         impl->region,
                         impl->arena,
                         *impl->words,
                         first_fd,
                         pages_fd,
                         xstate_size(image.process.platform)};
  const std::size_t n = image.tree.size();
  auto* const newborns = impl->words->newborns =
      static_cast<Newborn*>(impl->region.take(n * sizeof(Newborn)));
  impl->names.resize(n);
  impl->who.resize(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (!image.zombie(i)) ++impl->tasks;
    const bool threads = i + 1 < n && forest.leader[i + 1] == i;
    if (!forest.is_leader(i) || (image.zombie(i) && !threads)) continue;
    impl->who[i] = task_text(image, forest, i);
    ProcessCompiler compiler(context, i);
    CKPT_TRY(Program program, compiler.compile());
    newborns[i] = {program.finish(impl->region), impl->region.make<host::StubReport>()};
    impl->names[i] = program.take_names();
    if (compiler.stopped())
      impl->add_stopped(compiler, i, program.parts_at(newborns[i].program));
    else if (compiler.awaits_stops())
      ++impl->silent;
    if (!compiler.stopped()) (threads ? impl->with_threads : impl->alone).push_back(i);
  }
  for (const format::FileLock& lock : image.locks)
    if (!locked.contains(&lock))
      return cannot("cannot restore a file lock",
                    "lock " + format::lock_text(lock) + ": no descriptor is open for it", {},
                    EBADF);
  return Rebirth(std::move(impl));
}

Rebirth::Rebirth(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Rebirth::Rebirth(Rebirth&&) noexcept = default;
Rebirth& Rebirth::operator=(Rebirth&&) noexcept = default;
Rebirth::~Rebirth() = default;

const void* Rebirth::context() const noexcept {
  return impl_->words;
}

void Rebirth::become(const void* context, std::size_t task) noexcept {
  const auto& words = *static_cast<const RebirthWords*>(context);
  register std::uint64_t first asm("r12") = words.newborns[task].program;
  register host::StubReport* report asm("r14") = words.newborns[task].report;
  register std::uint64_t base asm("r15") = words.newborns[task].program;
  const std::uint64_t code = words.code;
  asm volatile("jmp *%0" : : "r"(code), "r"(first), "r"(report), "r"(base) : "memory");
  __builtin_unreachable();
}

Rebirth::Report Rebirth::report(std::size_t task) const noexcept {
  const auto* const r =
      static_cast<const volatile host::StubReport*>(impl_->words->newborns[task].report);
  if (!r) return {};
  Report out;
  out.state = static_cast<State>(r->state);
  if (out.state == State::failed) {
    out.step = static_cast<std::uint32_t>(r->offset / sizeof(host::StubEntry));
    out.error = -r->error;
  }
  return out;
}

Error Rebirth::error(std::size_t task) const {
  const Report r = report(task);
  const auto& names = impl_->names[task];
  std::string step = r.step < names.size() ? names[r.step].what : "an unknown step";
  if (r.step < names.size() && names[r.step].of != 0) {
    char of[32];
    const auto n = static_cast<unsigned long>(names[r.step].of);
    std::snprintf(of, sizeof of, n < 65536 ? " %lu" : " %#lx", n);
    step += of;
  }
  return cannot("cannot restore process " + impl_->who[task], step + ": " + std::strerror(r.error),
                {}, r.error);
}

// Without it each process gets its memory for itself.
void Rebirth::Impl::map_arena() {
  if (arena.empty()) return;
  const Status mapped = arena.map(region.begin() + region.size(), files);
  if (!mapped.has_error()) return;
  files.note("memory that processes shared copy-on-write is each one's own now: " +
             mapped.error().detail);
  arena = Arena();
}

Gifts Rebirth::gifts() const noexcept {
  return {impl_->arena.gifts(), impl_->pages_fd, impl_->arena.memory()};
}

std::size_t Rebirth::tasks() const noexcept {
  return impl_->tasks;
}

std::size_t Rebirth::wait_ready(std::size_t known, int timeout_ms) const noexcept {
  const timespec timeout{timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
  auto* const ready = &impl_->words->ready;
  if (__atomic_load_n(ready, __ATOMIC_ACQUIRE) == known)
    ::syscall(SYS_futex, ready, FUTEX_WAIT, known, &timeout, nullptr, 0);
  return __atomic_load_n(ready, __ATOMIC_ACQUIRE);
}

void Rebirth::Impl::add_stopped(const ProcessCompiler& compiler, std::size_t leader,
                                const std::vector<std::pair<std::uint64_t, std::size_t>>& parts) {
  Stopped s;
  s.leader = leader;
  s.places.emplace_back(words->newborns[leader].program, compiler.place(leader));
  for (const auto& [entry, i] : parts)
    s.places.emplace_back(entry, compiler.place(compiler.tasks()[i]));
  if (compiler.awaits_stops()) s.child_action = compiler.child_action();
  stopped.push_back(std::move(s));
}

void Rebirth::Impl::open_gate(std::uint32_t to) const {
  __atomic_store_n(&words->gate, to, __ATOMIC_RELEASE);
  ::syscall(SYS_futex, &words->gate, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
}

// Children before parents: these are told of stops again once theirs have stopped.
Status Rebirth::settle(const PidOf& pid_of) {
  for (auto s = impl_->stopped.rbegin(); s != impl_->stopped.rend(); ++s) {
    host::StoppedProcess to;
    to.place = [&](const user_regs_struct& now) -> const host::ThreadPlace* {
      const auto after = std::upper_bound(
          s->places.begin(), s->places.end(), now.r12,
          [](std::uint64_t entry, const auto& place) { return entry < place.first; });
      return after == s->places.begin() ? nullptr : &std::prev(after)->second;
    };
    if (s->child_action != 0)
      to.calls.push_back({SYS_rt_sigaction, host::kStubResult, {SIGCHLD, s->child_action, 0, 8}});
    to.unmapped = impl_->region.begin();
    to.unmapped_size = impl_->region.size();
    CKPT_CHECK(host::place_stopped(pid_of(s->leader), to));
  }
  if (impl_->silent == 0) return {};
  impl_->open_gate(1);
  constexpr int kPatience = 100, kMilliseconds = 100;
  const std::size_t all = impl_->tasks + impl_->silent;
  std::size_t ready = wait_ready(all, 0);
  for (int i = 0; i < kPatience && ready != all; ++i) ready = wait_ready(ready, kMilliseconds);
  if (ready != all)
    return cannot("cannot restore", "a parent of a stopped process does not go on", {}, ETIMEDOUT);
  return {};
}

void Rebirth::release() noexcept {
  impl_->files.close_all();
  impl_->open_gate(2);
}

// Until then a dump would take them with calls of ours under way. One that somebody stops is left
// behind after a while.
void Rebirth::Impl::await_departure(pid_t pid) const {
  char path[96];  // of the region's first mapping, which ends where the code begins
  std::snprintf(path, sizeof path, "/proc/%d/map_files/%lx-%lx", pid,
                static_cast<unsigned long>(region.begin()),
                static_cast<unsigned long>(words->code));
  constexpr int kAttempts = 5000;
  for (int i = 0; i < kAttempts; ++i) {
    struct stat st {};
    if (::lstat(path, &st) != 0) return;
    const timespec pause{0, 1000000};
    ::nanosleep(&pause, nullptr);
  }
}

Status Rebirth::finish(const PidOf& pid_of) {
  for (const std::size_t task : impl_->alone) impl_->await_departure(pid_of(task));
  for (const std::size_t task : impl_->with_threads)
    CKPT_CHECK(host::remove_mapping(pid_of(task), impl_->region.begin(), impl_->region.size()));
  return {};
}

const std::vector<std::string>& Rebirth::notes() const noexcept {
  return impl_->files.notes();
}

int Rebirth::first_own_fd() const noexcept {
  return impl_->first_fd;
}

}  // namespace ckpt::restart
