#include "core/file_server.h"

#include <cerrno>
#include <cstring>

#include "core/fd_table.h"

namespace ckpt::core {

namespace {

constexpr std::uint32_t kOpenAccess = 03, kOpenPath = 010000000;  // open(2)'s on x86-64

ServerKind kind_of(const File& file) {
  switch (file.type) {
    case format::kFilePipe:
    case format::kFileFifo:
      return ServerKind::stream;
    case format::kFileTty:
      return ServerKind::tty;
    case format::kFileSocket:
      return ServerKind::socket;
    case format::kFileOpaque:
      return ServerKind::opaque;
    default:
      return (file.mode & kModeFormat) == kModeDirectory ? ServerKind::directory
                                                         : ServerKind::regular;
  }
}

}  // namespace

Ref<FdTable> FileDomain::new_table() {
  return new FdTable(this);
}

Ref<FileServer> FileDomain::server_of(File& file) {
  const std::lock_guard guard(lock_);
  Ref<FileServer>& shared = file.pipe ? file.pipe->server : file.server;
  if (!file.server) {
    if (!shared) shared = new FileServer(this, kind_of(file));
    file.server = shared;
  }
  return file.server;
}

void FileDomain::serve(File& file, Ref<FileServer> server) {
  const std::lock_guard guard(lock_);
  CKPT_ASSERT(!file.server && !file.pipe);
  file.server = std::move(server);
}

Ref<LazyHolder> FileDomain::hold(const Ref<File>& file) {
  return server_of(*file)->hold(file);
}

Rights rights_of(const File& file) {
  const std::lock_guard guard(file.lock);
  if (file.type == format::kFileOpaque) return kAllRights;
  if (file.flags & kOpenPath) return kNoRights;
  switch (file.flags & kOpenAccess) {
    case 0:
      return static_cast<Rights>(kRightRead | kRightPosition);
    case 1:
      return static_cast<Rights>(kRightWrite | kRightPosition);
    default:
      return kAllRights;
  }
}

FileServer::FileServer(Ref<FileDomain> domain, ServerKind kind)
    : domain_(std::move(domain)), kind_(kind), number_(domain_->next_server()) {}
FileServer::~FileServer() = default;

int FileServer::admit(Access /*why*/, File& /*file*/, ClientId /*to*/) {
  return 0;
}
void FileServer::deserted() {}

std::size_t FileServer::clients() const {
  const std::lock_guard guard(lock_);
  return count_;
}
std::size_t FileServer::readers() const {
  const std::lock_guard guard(lock_);
  return readers_;
}
std::size_t FileServer::writers() const {
  const std::lock_guard guard(lock_);
  return writers_;
}

void FileServer::add(ClientData client, ObjectHandle* handle) {
  client.serial = domain_->next_serial();
  if (client.owner == kKernelClient) ++domain_->counts.kernel_handles;
  handle->server = this;
  handle->match = client.match;
  handle->nomatch = client.nomatch;
  handle->xhandle.serial = client.serial;
  const std::lock_guard guard(lock_);
  ++count_;
  readers_ += client.match & kRightRead ? 1 : 0;
  writers_ += client.match & kRightWrite ? 1 : 0;
  if (first_free_ == 0) {
    handle->xhandle.index = static_cast<std::uint32_t>(clients_.size());
    clients_.push_back(std::move(client));
    return;
  }
  handle->xhandle.index = static_cast<std::uint32_t>(first_free_ - 1);
  ClientData& free = clients_[first_free_ - 1];
  first_free_ = free.owner;
  free = std::move(client);
}

FileServer::ClientData* FileServer::find(const ObjectHandle& handle) {
  const XHandle x = handle.xhandle;
  if (handle.server != this || x.serial == 0 || x.index >= clients_.size()) return nullptr;
  ClientData& client = clients_[x.index];
  const bool as_given =
      client.serial == x.serial && client.match == handle.match && client.nomatch == handle.nomatch;
  return as_given ? &client : nullptr;
}

// A copy of the client data behind a handle that is the caller's own.
int FileServer::look(const ObjectHandle& handle, ClientId caller, ClientData* client) {
  const std::lock_guard guard(lock_);
  const ClientData* found = find(handle);
  if (!found || found->owner != caller) return -EBADF;
  *client = *found;
  return 0;
}

int FileServer::give_access(const Ref<File>& file, ClientId to, ObjectHandle* handle) {
  return give_access(file, to, rights_of(*file), kNoRights, handle);
}

int FileServer::give_access(const Ref<File>& file, ClientId to, Rights match, Rights nomatch,
                            ObjectHandle* handle) {
  assert_no_lock_held();
  if (const int error = admit(Access::open, *file, to)) return error;
  add({file, nullptr, to, 0, match, nomatch}, handle);
  return 0;
}

int FileServer::lazy_give_access(const ObjectHandle& from, ClientId caller,
                                 Ref<LazyHolder>* holder) {
  assert_no_lock_held();
  ClientData client;
  if (const int error = look(from, caller, &client)) return error;
  if (const int error = admit(Access::give, *client.file, kKernelClient)) return error;
  client.owner = kKernelClient;
  client.given = transfer_data(*client.file);
  const boost::intrusive_ptr<TransferData> data = client.given;
  ObjectHandle kernel;
  add(std::move(client), &kernel);
  ++domain_->counts.gives;
  *holder = new LazyHolder(std::move(kernel), data);
  return 0;
}

Ref<LazyHolder> FileServer::hold(const Ref<File>& file) {
  assert_no_lock_held();
  const boost::intrusive_ptr<TransferData> data = transfer_data(*file);
  ObjectHandle kernel;
  add({file, data, kKernelClient, 0, rights_of(*file), kNoRights}, &kernel);
  return new LazyHolder(std::move(kernel), data);
}

int FileServer::lazy_reopen(const ObjectHandle& kernel, ClientId caller,
                            std::span<const std::byte> data, ClientId to, ObjectHandle* handle) {
  assert_no_lock_held();
  ClientData client;
  if (caller != kKernelClient) return -EBADF;
  if (const int error = look(kernel, caller, &client)) return error;
  const auto given = client.given->bytes();
  if (data.size() != given.size() || std::memcmp(data.data(), given.data(), given.size()) != 0)
    return -EINVAL;
  if (const int error = admit(Access::reopen, *client.file, to)) return error;
  client.owner = to;
  client.given = nullptr;
  add(std::move(client), handle);
  return 0;
}

int FileServer::release(const ObjectHandle& handle, ClientId caller) {
  assert_no_lock_held();
  ClientData gone;  // what it refers to is let go of when the lock is free
  bool last = false;
  {
    const std::lock_guard guard(lock_);
    ClientData* client = find(handle);
    if (!client || client->owner != caller) return -EBADF;
    gone = std::move(*client);
    *client = {};
    client->owner = first_free_;
    first_free_ = handle.xhandle.index + std::size_t{1};
    last = --count_ == 0;
    readers_ -= gone.match & kRightRead ? 1 : 0;
    writers_ -= gone.match & kRightWrite ? 1 : 0;
  }
  if (caller == kKernelClient) --domain_->counts.kernel_handles;
  if (last) deserted();
  return 0;
}

int FileServer::file(const ObjectHandle& handle, ClientId caller, Rights need, Ref<File>* file) {
  assert_no_lock_held();
  Ref<File> found;
  {
    const std::lock_guard guard(lock_);
    const ClientData* client = find(handle);
    if (!client) return -EBADF;
    if (client->owner != caller && client->nomatch == kNoRights) return -EBADF;
    const Rights has = client->owner == caller ? client->match : client->nomatch;
    if ((has & need) != need) return -EBADF;
    found = client->file;
  }
  *file = std::move(found);
  return 0;
}

int FileServer::get_status(const File& file, FileStatus* status) {
  const std::lock_guard guard(file.lock);
  *status = {file.type, file.mode, file.flags, 0, 0, 0, file.offset, 0};
  if (const Inode* inode = file.inode.get()) {
    const std::lock_guard names(names_lock());
    status->dev = inode->dev;
    status->ino = inode->ino;
    status->size = inode->size.value_or(0);
    status->mtime_ns = inode->mtime_ns;
  }
  return 0;
}

int FileServer::get_path(const File& file, std::string* path) {
  *path = file.name();
  if (file.deleted()) *path += " (deleted)";
  return 0;
}

boost::intrusive_ptr<TransferData> FileServer::transfer_data(const File& file) {
  std::string name;
  if (kind_ == ServerKind::directory) get_path(file, &name);
  const std::lock_guard guard(file.lock);
  return new TransferData(domain_,
                          {0, kind_, file.flags, file.mode, file.inode ? file.inode->dev : 0,
                           file.inode ? file.inode->ino : 0},
                          name);
}

}  // namespace ckpt::core
