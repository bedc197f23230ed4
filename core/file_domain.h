// What the fd tables and file servers of one machine share: identities, the policy of fork, counts.
#pragma once

#include <atomic>

#include "core/lock_order.h"
#include "core/object.h"

namespace ckpt::core {

class File;
class FdTable;
class FileServer;
class LazyHolder;

// Who is a server's client: an fd table, by a number that is never used again; or the kernel, which
// holds handles on behalf of fds that nobody has touched yet.
using ClientId = std::uint64_t;
constexpr ClientId kKernelClient = 0;

// What fork leaves the parent with (K42-R3); the child's fds are all pending. Nobody can tell the
// two apart but by the counts.
enum class ForkPolicy {
  both_pending,      // K42's: the parent, too, reopens at its next touch
  keep_parent_live,  // the parent goes on with the client objects that it has
};

// How many there are, and how much was done. Read them when nothing is under way.
struct FileCounts {
  std::atomic<std::int64_t> client_files{0};    // client objects: opened or reopened, not closed
  std::atomic<std::int64_t> kernel_handles{0};  // handles that the kernel owns
  std::atomic<std::int64_t> holders{0};         // LazyHolders
  std::atomic<std::int64_t> blobs{0};           // transfer data
  std::atomic<std::uint64_t> gives{0};          // handles given to the kernel by fork
  std::atomic<std::uint64_t> reopens{0};        // fds that were pending and were touched
};

class FileDomain : public SharedObject {
 public:
  FileCounts counts;
  std::atomic<ForkPolicy> fork_policy{ForkPolicy::both_pending};

  [[nodiscard]] Ref<FdTable> new_table();
  // The server that speaks for what `file` is open on; made at the first call. The ends of a pipe
  // have one in common.
  [[nodiscard]] Ref<FileServer> server_of(File& file);
  // Makes `server` the one that speaks for `file`, which must not have one yet.
  void serve(File& file, Ref<FileServer> server);
  // A pending fd's entry for a file that no process has open yet: what restart fills tables with.
  [[nodiscard]] Ref<LazyHolder> hold(const Ref<File>& file);

  ClientId next_client() { return ++clients_; }
  std::uint32_t next_server() { return ++servers_; }
  // Distinguishes a client from all others of all servers; never 0.
  std::uint32_t next_serial() {
    const std::uint32_t serial = ++serials_;
    return serial != 0 ? serial : ++serials_;
  }

 private:
  RankedMutex<LockRank::file_domain> lock_;  // over File::server and Pipe::server
  std::atomic<ClientId> clients_{kKernelClient};
  std::atomic<std::uint32_t> serials_{0}, servers_{0};
};

}  // namespace ckpt::core
