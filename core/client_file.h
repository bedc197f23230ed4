// Client file objects: what a process has of an open file. Made at open or at reopening; fds made
// by dup share one.
#pragma once

#include "core/file_server.h"

namespace ckpt::core {

// Its handle is released with it.
class ClientFile : public SharedObject {
 public:
  ClientFile(ObjectHandle handle, ClientId owner, ServerKind kind)
      : handle_(std::move(handle)), owner_(owner), kind_(kind) {
    ++handle_.server->domain().counts.client_files;
  }
  ~ClientFile() override {
    --handle_.server->domain().counts.client_files;
    const int error = handle_.server->release(handle_, owner_);
    CKPT_ASSERT(error == 0);
  }

  [[nodiscard]] const ObjectHandle& handle() const { return handle_; }
  // The type that it was opened as: what a process does with the file by itself depends on it.
  [[nodiscard]] ServerKind kind() const { return kind_; }
  int file(Rights need, Ref<File>* file) const {
    return handle_.server->file(handle_, owner_, need, file);
  }

 private:
  const ObjectHandle handle_;
  const ClientId owner_;
  const ServerKind kind_;
};

}  // namespace ckpt::core
