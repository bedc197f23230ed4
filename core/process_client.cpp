#include "core/process_client.h"

#include <algorithm>
#include <cerrno>

#include "core/fd_server.h"

namespace ckpt::core {

namespace {
int copy_out(std::string_view text, std::span<char> out, std::size_t* size) {
  *size = text.size();
  if (out.size() < text.size()) return -ERANGE;
  std::copy(text.begin(), text.end(), out.begin());
  return 0;
}
}  // namespace

void ProcessClient::set_files(Ref<FdTable> files) {
  const std::lock_guard guard(lock_);
  files_.swap(files);
}

void ProcessClient::set_name(std::string_view name) {
  const std::lock_guard guard(lock_);
  name_ = name;
}

void ProcessClient::set_environment(std::optional<std::string> environment) {
  const std::lock_guard guard(lock_);
  environment_ = std::move(environment);
}

std::optional<std::string> ProcessClient::environment() const {
  const std::lock_guard guard(lock_);
  return environment_;
}

void ProcessClient::end() {
  Ref<FdTable> files;
  const std::lock_guard guard(lock_);
  ended_ = true;
  files_.swap(files);
}

// Without the lock, since the server is asked.
int ProcessClient::may_look(FdServer& server, AskerHandle asker) const {
  assert_no_lock_held();
  Creds who;
  if (const int error = server.credentials(asker, &who)) return error;
  return who.uid == 0 || who.uid == creds_.uid ? 0 : -EACCES;
}

int ProcessClient::open_files(FdServer& server, AskerHandle asker, Ref<FdTable>* files) const {
  if (const int error = may_look(server, asker)) return error;
  const std::lock_guard guard(lock_);
  if (ended_) return -ESRCH;
  *files = files_;
  return files_ ? 0 : -EBADF;
}

int ProcessClient::next_fd(FdServer& server, AskerHandle asker, int from, int* fd) {
  Ref<FdTable> files;
  if (const int error = open_files(server, asker, &files)) return error;
  *fd = files->next_fd(from);
  return *fd >= 0 ? 0 : -EBADF;
}

int ProcessClient::fd_identity(FdServer& server, AskerHandle asker, int fd, FdIdentity* identity) {
  Ref<FdTable> files;
  if (const int error = open_files(server, asker, &files)) return error;
  const std::optional<std::uint64_t> generation = files->generation(fd);
  if (!generation) return -EBADF;
  *identity = {life_, *generation};
  return 0;
}

int ProcessClient::fd_status(FdServer& server, AskerHandle asker, int fd, FdStatus* status) {
  Ref<FdTable> files;
  if (const int error = open_files(server, asker, &files)) return error;
  const std::optional<Fd> found = files->find(fd);
  if (!found) return -EBADF;
  *status = {{life_, found->generation}, found->state, found->cloexec, {}};
  return found->file->server->get_status(*found->file, &status->file);
}

int ProcessClient::fd_path(FdServer& server, AskerHandle asker, int fd, std::span<char> out,
                           std::size_t* size) {
  Ref<FdTable> files;
  if (const int error = open_files(server, asker, &files)) return error;
  const std::optional<Fd> found = files->find(fd);
  if (!found) return -EBADF;
  std::string path;
  if (const int error = found->file->server->get_path(*found->file, &path)) return error;
  return copy_out(path, out, size);
}

int ProcessClient::name(FdServer& server, AskerHandle asker, std::span<char> out,
                        std::size_t* size) {
  if (const int error = may_look(server, asker)) return error;
  const std::lock_guard guard(lock_);
  return ended_ ? -ESRCH : copy_out(name_, out, size);
}

int ProcessClient::environment(FdServer& server, AskerHandle asker, std::span<char> out,
                               std::size_t* size) {
  if (const int error = may_look(server, asker)) return error;
  const std::lock_guard guard(lock_);
  if (ended_) return -ESRCH;
  return environment_ ? copy_out(*environment_, out, size) : -ENODATA;
}

}  // namespace ckpt::core
