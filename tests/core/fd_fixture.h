// What the tests of fd tables and file servers share.
#pragma once

#include <cerrno>
#include <functional>

#include "core/fd_table.h"

namespace ckpt::core {

// A server that asks the test before it makes a client, and tells it when the last one has gone.
class ProbeServer : public FileServer {
 public:
  explicit ProbeServer(FileDomain& domain, ServerKind of = ServerKind::regular)
      : FileServer(&domain, of) {}

  std::function<int(Access, ClientId)> on_admit = [](Access, ClientId) { return 0; };
  std::function<void()> on_deserted = [] {};

 protected:
  int admit(Access why, File& /*file*/, ClientId to) override { return on_admit(why, to); }
  void deserted() override { on_deserted(); }
};

struct Files {
  const Ref<FileDomain> domain{new FileDomain};
  FileCounts& counts = domain->counts;
  const Ref<FdTable> parent = domain->new_table();

  static Ref<File> file(const std::string& path, std::uint32_t flags = 2) {
    Ref<File> f = new File;
    f->path = path;
    f->flags = flags;
    f->mode = 0100644;
    return f;
  }
  static Ref<File> directory(const std::string& path) {
    Ref<File> f = file(path, 0);
    f->mode = 0040755;
    return f;
  }
  // A file, and the server that it will be opened at.
  Ref<File> probed(const std::string& path, boost::intrusive_ptr<ProbeServer>* server) {
    *server = new ProbeServer(*domain);
    Ref<File> f = file(path);
    f->server = *server;
    return f;
  }
  // The child's table; null if fork fails.
  Ref<FdTable> fork() { return fork(*parent); }
  static Ref<FdTable> fork(FdTable& table) {
    Ref<FdTable> child;
    return table.fork(&child) == 0 ? child : nullptr;
  }
  static int touch(FdTable& table, int fd, Rights need = kNoRights) {
    Ref<File> used;
    return table.use(fd, need, &used);
  }
  static bool is_live(const FdTable& table, int fd) {
    const auto found = table.find(fd);
    return found && found->state == FdState::live;
  }
  static bool is_pending(const FdTable& table, int fd) {
    const auto found = table.find(fd);
    return found && found->state == FdState::pending;
  }
  // Nothing is left of what fork and restart made.
  [[nodiscard]] bool nothing_left() const {
    return counts.client_files == 0 && counts.kernel_handles == 0 && counts.holders == 0 &&
           counts.blobs == 0;
  }
};

}  // namespace ckpt::core
