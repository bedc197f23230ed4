// The first touch of a pending fd.
#include <array>
#include <cerrno>

#include "core/client_file.h"
#include "core/fd_table.h"

namespace ckpt::core {

// The server is asked without the lock. What it gave is kept only if the slot still is the one that
// it was asked for; otherwise somebody else has reopened or closed it, and it is given back.
int FdTable::reopen(int fd, std::span<std::byte> buffer, std::size_t* size) {
  assert_no_lock_held();
  *size = 0;
  Ref<LazyHolder> holder;
  std::uint64_t generation = 0;
  {
    const std::lock_guard guard(lock_);
    const Slot* found = slot(fd);
    if (!found) return -EBADF;
    if (found->client) return 0;
    generation = found->generation;
    holder = lazy_.find(fd);
  }
  if (const int error = holder->data().copy_to(buffer, size)) return error;
  const std::span<const std::byte> data = buffer.first(*size);
  ServerKind kind{};
  if (const int error = TransferData::kind_in(data, &kind)) return error;
  ObjectHandle handle;
  if (const int error =
          holder->handle().server->lazy_reopen(holder->handle(), kKernelClient, data, id_, &handle))
    return error;
  const Ref<ClientFile> client = new ClientFile(std::move(handle), id_, kind);
  Ref<LazyHolder> done;
  const std::lock_guard guard(lock_);
  Slot* found = slot(fd);
  if (found && found->generation == generation && !found->client) {
    found->client = client;
    done = lazy_.take(fd);
    ++domain_->counts.reopens;
  }
  return 0;
}

// The client object of an fd, which is LIVE then.
int FdTable::client_of(int fd, Ref<ClientFile>* client) {
  std::array<std::byte, 512> usual;
  std::vector<std::byte> larger;
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      const Slot* found = slot(fd);
      if (!found) return -EBADF;
      if (found->client) {
        *client = found->client;
        return 0;
      }
    }
    const std::span<std::byte> buffer = larger.empty() ? std::span<std::byte>(usual) : larger;
    std::size_t size = 0;
    const int error = reopen(fd, buffer, &size);
    if (error == -ERANGE && size > buffer.size())
      larger.resize(size);
    else if (error)
      return error;
  }
}

int FdTable::use(int fd, Rights need, Ref<File>* file) {
  Ref<ClientFile> client;
  if (const int error = client_of(fd, &client)) return error;
  return client->file(need, file);
}

int FdTable::reopen_all() {
  int first_error = 0;
  for (int fd = next_fd(0); fd >= 0; fd = next_fd(fd + 1)) {
    Ref<ClientFile> client;
    const int error = client_of(fd, &client);
    if (error != 0 && error != -EBADF && first_error == 0) first_error = error;
  }
  return first_error;
}

}  // namespace ckpt::core
