// What one process answers with when others ask about its fds. After K42's ProcessLinuxClient.
#pragma once

#include "core/fd_table.h"

namespace ckpt::core {

class FdServer;

struct Creds {
  std::uint32_t uid = 0, gid = 0;
};

// Which open of a number it was: of which life of a pid, and which of its fd's. Equal for two
// answers exactly if nobody closed the fd in between.
struct FdIdentity {
  std::uint64_t life = 0, generation = 0;
  friend bool operator==(const FdIdentity&, const FdIdentity&) = default;
};

struct FdStatus {
  FdIdentity identity;
  FdState state = FdState::live;
  bool cloexec = false;
  FileStatus file;
};

// How the server knows who calls it; made by FdServer::enroll().
struct AskerHandle {
  std::int32_t pid = 0;
  std::uint64_t life = 0;
};

// States: it answers, until the process ends; then it has nothing any more, though those who ask
// may still hold it. Calls return 0 or a negative errno: -EACCES if the asker may not look (he must
// be root or have the same uid), -EBADF for an fd that is not open, -ERANGE if `out` is too small
// (and nothing is written; `*size` is what it takes), -ESRCH when the process has ended, -ENODATA
// for an environment that is not known. No call touches an fd. From any thread.
class ProcessClient : public SharedObject {
 public:
  ProcessClient(std::uint64_t life, Creds creds) : life_(life), creds_(creds) {}

  [[nodiscard]] std::uint64_t life() const { return life_; }
  [[nodiscard]] Creds creds() const { return creds_; }

  // By the process itself. No table: it has no fds.
  void set_files(Ref<FdTable> files);
  void set_name(std::string_view name);
  void set_environment(std::optional<std::string> environment);
  [[nodiscard]] std::optional<std::string> environment() const;
  void end();

  // The lowest fd at or above `from`; -EBADF if there is none.
  int next_fd(FdServer& server, AskerHandle asker, int from, int* fd);
  int fd_identity(FdServer& server, AskerHandle asker, int fd, FdIdentity* identity);
  int fd_status(FdServer& server, AskerHandle asker, int fd, FdStatus* status);
  // Texts are not terminated.
  int fd_path(FdServer& server, AskerHandle asker, int fd, std::span<char> out, std::size_t* size);
  int name(FdServer& server, AskerHandle asker, std::span<char> out, std::size_t* size);
  int environment(FdServer& server, AskerHandle asker, std::span<char> out, std::size_t* size);

 private:
  int may_look(FdServer& server, AskerHandle asker) const;
  int open_files(FdServer& server, AskerHandle asker, Ref<FdTable>* files) const;

  const std::uint64_t life_;
  const Creds creds_;
  mutable RankedMutex<LockRank::process_client> lock_;  // over what follows
  bool ended_ = false;
  Ref<FdTable> files_;
  std::string name_;
  std::optional<std::string> environment_;
};

}  // namespace ckpt::core
