// What compiles an image into programs. Internal to rebirth; prepare() puts the parts together.
//
// The order within a process: signals blocked; old memory gone, what is shared copy-on-write moved
// to its place; descriptors; mappings, filled;
// dispositions, limits, names; threads; where their children are born; each thread's own state;
// pending signals, timers, credentials; ready, gate; registers. A leader that has exited does all
// but the last two, and exits.
#pragma once

#include <map>
#include <set>

#include "core/host/place.h"
#include "restart/rebirth.h"
#include "restart/rebirth_arena.h"
#include "restart/rebirth_files.h"
#include "restart/rebirth_pages.h"
#include "restart/rebirth_program.h"

namespace ckpt::restart {

// What a task is to run.
struct Newborn {
  std::uint64_t program = 0;           // the first entry
  host::StubReport* report = nullptr;  // null for those that are no leader
};

// What all tasks share while they are reborn; at the region's beginning.
struct RebirthWords {
  // 1: who is to be stopped is, and parents may be told of stops again; 2: go on.
  std::uint32_t gate = 0;
  // Tasks that have come to the gate, and then parents that may be told; counts up.
  std::uint32_t ready = 0;
  std::uint64_t code = 0;       // of the stub
  Newborn* newborns = nullptr;  // by task
  std::uint32_t pad[10] = {};
};

// Objects of an image by objref.
struct ImageIndex {
  explicit ImageIndex(const format::Image& image);
  std::map<std::int32_t, const format::ImageMm*> mms;
  std::map<std::int32_t, const format::ImageShm*> shms;
  std::map<std::int32_t, const format::ImageSighand*> sighands;
  std::map<std::int32_t, const format::ImageSignal*> signals;
  std::map<std::int32_t, const format::ImageCred*> creds;
  std::map<std::int32_t, const format::ImageFileTable*> tables;
  std::map<std::int32_t, const format::ImageFile*> files;
  std::map<std::int32_t, const format::ImageFs*> fs;
  std::map<std::int32_t, const format::FileOwner*> owners;  // by FILE
};

// The process that restores, as far as it is inherited: what is the same needs no call.
struct Inherited {
  static Inherited read();
  std::vector<std::pair<std::uint64_t, std::uint64_t>> limits;  // soft, hard
  std::uint32_t personality = 0;
  std::int32_t oom_score_adj = 0;
  std::uint32_t coredump_filter = 0;
  format::Cred cred{};
  std::vector<std::uint32_t> groups;
  std::int32_t nice = 0;
  std::uint32_t policy = 0, priority = 0;
};

struct CompileContext {
  const format::Image& image;
  const Forest& forest;
  const PageStore& pages;
  const RebirthOptions& options;
  const ImageIndex& index;
  const Inherited& inherited;
  OpenedFiles& files;
  std::map<std::int32_t, int>& shared_fds;    // by objref
  std::set<std::int32_t>& epolls;             // files that were told what to watch
  std::set<std::int32_t>& owned;              // files that were told whom to signal
  std::set<const format::FileLock*>& locked;  // set by a process
  const std::vector<int>& spaces;             // by number of SPACE, from 0; -1: the restorer's
  std::set<std::uint32_t>& proc_mounts;       // spaces whose /proc somebody mounts
  SharedRegion& region;
  const Arena& arena;
  RebirthWords& words;
  int first_fd;             // descriptors of ours begin here
  int pages_fd;             // PageStore's, as ours
  std::size_t xstate_size;  // bytes of the image's register sets, as this processor keeps them
};

// What CompileContext::xstate_size is to be.
std::size_t xstate_size(const format::Platform& platform);

// One process.
class ProcessCompiler {
 public:
  ProcessCompiler(CompileContext& context, std::size_t leader);
  Result<Program> compile();
  [[nodiscard]] const std::vector<std::size_t>& tasks() const { return tasks_; }
  [[nodiscard]] bool stopped() const;
  // Its children are to be stopped, and tell it so: it must not notice.
  [[nodiscard]] bool awaits_stops() const;
  // Where its own disposition of SIGCHLD lies; after compile(), of one that awaits stops.
  [[nodiscard]] std::uint64_t child_action() const { return child_action_; }
  // For a process that is stopped.
  [[nodiscard]] host::ThreadPlace place(std::size_t task) const;

 private:
  [[nodiscard]] Error cannot_restore(const std::string& why, const std::string& hint = {},
                                     int err = 0) const;
  // rebirth_memory.cpp
  void leave_old_memory();
  void take_share(bool moves);
  Status mappings();
  Status map(const format::ImageVma& v, bool filled);
  void advise(const format::ImageVma& v, bool filled);
  Status fill();
  void fill(const Extent& e);
  [[nodiscard]] bool is_moved(const format::Vma& vma) const;
  Status describe_memory();

  // rebirth_descriptors.cpp
  Status descriptors();
  void watches(const format::ImageFileTable& table);
  [[nodiscard]] const format::FileDesc* to_lock_by(const format::FileLock& lock) const;
  void locks();
  Status owners();
  [[nodiscard]] Result<std::int32_t> number_of(std::int32_t pid) const;

  // rebirth_task.cpp
  void dispositions();
  Status limits();
  void name(std::size_t task);
  Status threads();
  Status own_state(std::size_t task);
  void scheduling(std::size_t task);
  void placement(const format::ImageThread& t);
  Status pending(std::size_t task, const std::vector<format::Siginfo>& queue, bool shared);
  void timers();
  void skip_timers(std::uint64_t next, std::uint64_t wanted);
  Status credentials(std::size_t task);
  void arrive(std::size_t task);
  Status come_alive(std::size_t task);

  // rebirth_spaces.cpp
  void enter_spaces();

  // rebirth_children.cpp
  Status open_child_namespaces();
  void enter_child_namespace(std::size_t task);
  void await_child_namespaces();
  Status leave(std::size_t task);
  Status leave_through_slack(std::size_t task);
  std::uint64_t signal_frame(std::size_t task, const user_regs_struct& regs, std::uint64_t mask);
  [[nodiscard]] std::int32_t number(std::size_t task) const;
  void write_file(const char* what, const char* path, const std::string& text);

  CompileContext& c_;
  const std::size_t leader_;
  const std::size_t
      first_;  // the first task that lives: the leader, or if that has exited a thread
  std::vector<std::size_t> tasks_;                  // the leader first
  std::map<std::int32_t, std::uint64_t> child_ns_;  // by objref: a descriptor of ours
  std::uint64_t entered_ = 0;                       // the word that counts who has entered its own
  const format::ImageMm& mm_;
  const Arena::Share* const share_;  // null: it shares no memory copy-on-write
  const format::ImageSighand& sighand_;
  const format::ImageSignal& signal_;
  std::uint64_t child_action_ = 0;
  Program p_;
};

}  // namespace ckpt::restart
