// File descriptor tables (the kernel's files_struct, K42's FDSet): shared under CLONE_FILES, else
// copied by fork.
//
// States of an fd:
//
//             open, dup                  fork
//    FREE ----------------> LIVE ------------------> PENDING
//      ^                    | ^       first touch    |    ^
//      |       close        | +----------------------+    | in the child's table,
//      +--------------------+            close            | and by restart
//      +------------------------------------------------ -+
//
// LIVE: the process has a client object, whose handle the server knows. PENDING: in use, marked
// ready-for-lazy: the kernel holds a handle on its behalf, in the table's LazyState, and the first
// touch makes the client object. Touched by: whatever uses the file (read, write, lseek, fstat,
// F_GETFL, F_SETFL, fchdir, ...), and dup, since what it makes shares the client object. Not
// touched by: close, F_GETFD, F_SETFD, fork, exec, and whoever looks from outside.
//
// Invariants, at every instant at which the table's lock is free:
// - An fd is PENDING exactly if LazyState has an entry for it.
// - The generation of a slot tells this open of the number from any other of this table; fork
// copies
//   it, and reopening and F_SETFD leave it alone.
// - Slots are ascending by fd. They are a sorted array and no bitmaps as K42's, because an image or
//   a history that is not trusted may use any fd up to kMaxFds.
//
// Every member function can be called from any thread.
#pragma once

#include <optional>

#include "core/lazy_state.h"

namespace ckpt::core {

constexpr int kMaxFds = 1024 * 1024;  // RLIMIT_NOFILE cannot be above

class ClientFile;

enum class FdState : std::uint8_t { live, pending };

// An fd as it was when it was looked at.
struct Fd {
  int fd;
  bool cloexec;
  FdState state;
  Ref<File> file;
  std::uint64_t generation;
};

class FdTable : public SharedObject {
 public:
  explicit FdTable(Ref<FileDomain> domain);
  ~FdTable() override;

  // Its identity at the servers.
  [[nodiscard]] ClientId id() const { return id_; }

  // --- fd_table.cpp. Calls return what is said, or a negative errno: -EBADF for an fd that is not
  // open, what a server answers, and then nothing has changed.

  // Where a new fd goes: to the number `at`, replacing what is there; or, where that is below 0, to
  // the lowest free one that is not below `lowest`.
  struct Place {
    int at = -1;
    int lowest = 0;
    bool cloexec = false;
  };
  // Opens `file` at its server. The fd, LIVE.
  int open(const Ref<File>& file, Place place);
  // The fd, PENDING.
  int open_pending(Ref<LazyHolder> holder, Place place);
  int dup(int fd, Place place);
  // 0. `*file` is what it referred to, for whoever has something to do at that.
  int close(int fd, Ref<File>* file = nullptr);
  // For all fds from `first` to `last`.
  void close_range(unsigned first, unsigned last);
  void set_cloexec_range(unsigned first, unsigned last);
  // exec: closes exactly those marked close-on-exec.
  void close_on_exec();
  void close_all() { close_range(0, ~0U); }
  int get_cloexec(int fd) const;  // 0, 1
  int set_cloexec(int fd, bool on);

  // --- fd_reopen.cpp. The first touch.

  // 0, and the open file description of `fd`, for a call that takes the rights `need`.
  int use(int fd, Rights need, Ref<File>* file);
  // Reopens a PENDING fd; 0 if it is LIVE. `buffer` takes the transfer data: -ERANGE if it is too
  // small, and then the fd is PENDING as before and `*size` bytes are enough.
  int reopen(int fd, std::span<std::byte> buffer, std::size_t* size);
  // Touches every fd. The first error; the others are touched all the same.
  int reopen_all();

  // --- fd_fork.cpp. 0, and a copy of the table as it was at one instant, all PENDING. This table's
  // fds are PENDING afterwards or as they were, as the domain's policy says.
  int fork(Ref<FdTable>* child);

  // --- Looking without touching.
  [[nodiscard]] std::optional<Fd> find(int fd) const;
  [[nodiscard]] std::optional<std::uint64_t> generation(int fd) const;
  [[nodiscard]] std::vector<Fd> fds() const;  // ascending
  [[nodiscard]] std::size_t size() const;
  // The lowest fd in use at or above `from`; -1 if there is none.
  [[nodiscard]] int next_fd(int from) const;
  [[nodiscard]] int lowest_free(int from) const;
  // Whether the invariants hold.
  [[nodiscard]] bool consistent() const;

  // Processes that have it: see ProcessFiles.
  [[nodiscard]] int users() const { return users_.load(); }

 private:
  friend class ProcessFiles;
  struct Slot {
    int fd;
    bool cloexec;
    std::uint64_t generation;
    Ref<ClientFile> client;  // null: PENDING
  };
  // What a slot let go of, to be dropped by whoever has released the lock.
  struct Dropped {
    Ref<ClientFile> client;
    Ref<LazyHolder> holder;
  };
  using Slots = std::vector<Slot>;
  struct Given;

  [[nodiscard]] Slots::const_iterator at_or_after(int fd) const;
  [[nodiscard]] const Slot* slot(int fd) const;
  Slot* slot(int fd) { return const_cast<Slot*>(std::as_const(*this).slot(fd)); }
  [[nodiscard]] int lowest_free_slot(int from) const;
  int put(Place place, Ref<ClientFile> client, Ref<LazyHolder> holder, Dropped* dropped);
  template <class Which>
  void close_if(Which which);
  int client_of(int fd, Ref<ClientFile>* client);
  [[nodiscard]] static Ref<File> file_of(const Dropped& refers);
  void commit(FdTable& child, const Given& given, bool keep_live, Slots* released);

  const Ref<FileDomain> domain_;
  const ClientId id_;
  std::atomic<int> users_{0};
  mutable RankedMutex<LockRank::fd_table> lock_;  // over what follows
  Slots slots_;
  LazyState lazy_;
  std::uint64_t generations_ = 0;  // the last one given
};

// A process's hold on its table. Others may look at a table, too (the fd server, a checkpoint), and
// have a plain Ref; when the last process lets go, all fds are closed, whoever looks on.
class ProcessFiles {
 public:
  ProcessFiles() = default;
  ProcessFiles(Ref<FdTable> table) : table_(std::move(table)) { enter(); }
  ProcessFiles(FdTable* table) : ProcessFiles(Ref<FdTable>(table)) {}
  ProcessFiles(const ProcessFiles& other) : ProcessFiles(other.table_) {}
  ProcessFiles(ProcessFiles&& other) noexcept : table_(std::move(other.table_)) {}
  ProcessFiles& operator=(ProcessFiles other) noexcept {
    table_.swap(other.table_);
    return *this;
  }
  ~ProcessFiles() {
    if (table_ && table_->users_.fetch_sub(1) == 1) table_->close_all();
  }

  [[nodiscard]] FdTable* get() const { return table_.get(); }
  FdTable& operator*() const { return *table_; }
  FdTable* operator->() const { return table_.get(); }
  explicit operator bool() const { return table_ != nullptr; }
  [[nodiscard]] bool shared() const { return table_ && table_->users() > 1; }
  friend bool operator==(const ProcessFiles& a, const ProcessFiles& b) = default;

 private:
  void enter() {
    if (table_) table_->users_.fetch_add(1);
  }
  Ref<FdTable> table_;
};

}  // namespace ckpt::core
