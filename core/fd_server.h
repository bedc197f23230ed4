// Tells anybody about another process's fds, by pid: what stands behind /proc/PID/fd. After K42's
// ProcessLinuxServer.
#pragma once

#include <unordered_map>

#include "core/process_client.h"

namespace ckpt::core {

// Whom a question is about. With a life, only that one will do: -ESRCH once the pid is another's.
struct About {
  std::int32_t pid = 0;    // in the machine's root namespace; 0: who asks
  std::uint64_t life = 0;  // 0: whoever has the pid now
};

// States of a pid:
//
//   unknown --announce--> announced --enroll--> enrolled --retire--> retired --forget--> unknown
//
// (announced -> retired, if it dies first). Only an enrolled process has a ProcessClient, and only
// about it there are answers; about all others, and kernel tasks, which never enrol, there is
// -ESRCH.
//
// A question is answered in three steps. Under the lock the pid is looked up, and a reference to
// its client is taken: that is what makes it exist for the time of the call. Without the lock the
// client is asked; it asks back for the asker's credentials, and a file's server may ask anything.
// Under the lock again it is seen whether that very client is still enrolled under the pid: if it
// died meanwhile the answer is -ESRCH, whoever has the pid now. Nothing is written on error.
class FdServer : public SharedObject {
 public:
  // --- By the machine, which announces a pid before anything can have it.
  // The life that begins; a pid that was announced and not forgotten begins another.
  std::uint64_t announce(std::int32_t pid);
  // `pid` must be announced.
  Ref<ProcessClient> enroll(std::int32_t pid, Creds creds);
  void retire(std::int32_t pid);
  void forget(std::int32_t pid);
  // By which the process calls; of one that is not enrolled: one that is refused.
  AskerHandle handle_of(std::int32_t pid) const;

  // --- By anybody. See ProcessClient for what is answered.
  int find(AskerHandle asker, std::int32_t pid, About* about);
  // For enumeration: next_fd(about, 0), then next_fd(about, fd + 1), until -EBADF.
  int next_fd(AskerHandle asker, About about, int from, int* fd);
  int fd_identity(AskerHandle asker, About about, int fd, FdIdentity* identity);
  int fd_status(AskerHandle asker, About about, int fd, FdStatus* status);
  int fd_path(AskerHandle asker, About about, int fd, std::span<char> out, std::size_t* size);
  int name(AskerHandle asker, About about, std::span<char> out, std::size_t* size);
  int environment(AskerHandle asker, About about, std::span<char> out, std::size_t* size);
  int credentials(AskerHandle asker, Creds* creds) const;

 private:
  struct Entry {
    std::uint64_t life = 0;
    Ref<ProcessClient> client;  // enrolled; else null
  };
  [[nodiscard]] Ref<ProcessClient> enrolled(AskerHandle asker, About about) const;
  template <class Answer, class Ask>
  int ask(AskerHandle asker, About about, Answer* answer, Ask how);
  template <class Ask>
  int ask_text(AskerHandle asker, About about, std::span<char> out, std::size_t* size, Ask how);

  mutable RankedMutex<LockRank::fd_server> lock_;  // over what follows
  std::unordered_map<std::int32_t, Entry> entries_;
  std::uint64_t lives_ = 0;
};

}  // namespace ckpt::core
