// File servers: the objects that files are opened at, one for each file, directory, pipe, terminal
// or socket. A server keeps client data for each of its clients; a client has an ObjectHandle,
// which names that data and is good for nothing else. After K42's ServerFile, DirLinuxFS and their
// kin.
#pragma once

#include "core/file.h"
#include "core/transfer_data.h"

namespace ckpt::core {

enum Rights : std::uint8_t {
  kNoRights = 0,  // may be asked about, no more
  kRightRead = 1,
  kRightWrite = 2,
  kRightPosition = 4,  // lseek, F_SETFL: all but O_PATH
  kAllRights = 7,
};

// Names client data at a server. `serial` is of that client alone, so what remains of a handle
// after its release names nothing.
struct XHandle {
  std::uint32_t index = 0, serial = 0;
};

// A client's way to a server. `match` are the rights of the client that it was given to, `nomatch`
// those of anybody else. A handle is data and can be copied and made up: the server believes it
// only if all of it is as it was given.
struct ObjectHandle {
  Ref<FileServer> server;
  XHandle xhandle;
  Rights match = kNoRights, nomatch = kNoRights;
};

// Why a server is about to make client data.
enum class Access {
  open,    // open(2) and its kin
  give,    // fork: for the kernel, from the caller's
  reopen,  // first touch: from the kernel's
};

// What stat(2) and fdinfo tell of an open file; 0 where it is not known.
struct FileStatus {
  format::FileType type = format::kFileGeneric;
  std::uint32_t mode = 0, flags = 0;
  std::uint64_t dev = 0, ino = 0, size = 0, offset = 0;
  std::int64_t mtime_ns = 0;
};

// Calls return 0 or a negative errno: -EBADF for a handle that is not the caller's, was made up,
// was released, or lacks the right; else what admit() says. After an error everything is as before.
// `caller` is who calls, as the way that the call came by says it, not the caller itself. Each call
// can be made from any thread, and is made without a lock.
//
// Invariants:
// - A client data counts exactly if somebody holds its handle: a ClientFile, or a LazyHolder.
// - What is given is given before what it is given from is released, so a server that has a client
//   before fork or reopen has one at every instant of it.
// - Rights never grow: they are chosen at open and copied from then on.
class FileServer : public SharedObject {
 public:
  FileServer(Ref<FileDomain> domain, ServerKind kind);
  ~FileServer() override;

  // open: `to` becomes a client with the rights that the file's flags give, or with `rights`.
  int give_access(const Ref<File>& file, ClientId to, ObjectHandle* handle);
  int give_access(const Ref<File>& file, ClientId to, Rights match, Rights nomatch,
                  ObjectHandle* handle);
  // fork: the kernel becomes a client with the file and the rights of `from`.
  int lazy_give_access(const ObjectHandle& from, ClientId caller, Ref<LazyHolder>* holder);
  // First touch: `to` becomes a client with the file and the rights of the kernel's handle, which
  // is the kernel's alone to use. `data` must be what was given with it: else -EINVAL.
  int lazy_reopen(const ObjectHandle& kernel, ClientId caller, std::span<const std::byte> data,
                  ClientId to, ObjectHandle* handle);
  int release(const ObjectHandle& handle, ClientId caller);
  // The open file description, for a call that takes the rights `need`.
  int file(const ObjectHandle& handle, ClientId caller, Rights need, Ref<File>* file);

  // The kernel's handle for a file that nobody has opened here yet: see FileDomain::hold().
  Ref<LazyHolder> hold(const Ref<File>& file);

  // What an open file is, and the name that it goes by now. Overridden where the answer is to be
  // had elsewhere; called without a lock, so may call anybody.
  virtual int get_status(const File& file, FileStatus* status);
  virtual int get_path(const File& file, std::string* path);

  [[nodiscard]] ServerKind kind() const { return kind_; }
  // Which server of its domain it is, from 1: never given twice.
  [[nodiscard]] std::uint32_t number() const { return number_; }
  [[nodiscard]] FileDomain& domain() { return *domain_; }
  // Clients now, the kernel counted; those that may read; those that may write. A pipe without
  // readers or writers is broken.
  [[nodiscard]] std::size_t clients() const;
  [[nodiscard]] std::size_t readers() const;
  [[nodiscard]] std::size_t writers() const;

 protected:
  // May the client be made? Called without a lock, so may call anybody. A negative errno if not.
  virtual int admit(Access why, File& file, ClientId to);
  // The last client has gone. Called without a lock; there may be a new one by then.
  virtual void deserted();

 private:
  struct ClientData {
    Ref<File> file;
    boost::intrusive_ptr<TransferData> given;  // with the kernel's handle; else null
    ClientId owner = 0;        // while it is free: the index of the next free one, plus one
    std::uint32_t serial = 0;  // 0: free
    Rights match = kNoRights, nomatch = kNoRights;
  };
  void add(ClientData client, ObjectHandle* handle);
  ClientData* find(const ObjectHandle& handle);
  int look(const ObjectHandle& handle, ClientId caller, ClientData* client);
  [[nodiscard]] boost::intrusive_ptr<TransferData> transfer_data(const File& file);

  const Ref<FileDomain> domain_;
  const ServerKind kind_;
  const std::uint32_t number_;
  mutable RankedMutex<LockRank::file_server> lock_;  // over what follows
  std::vector<ClientData> clients_;
  std::size_t first_free_ = 0;  // index plus one; 0: none
  std::size_t count_ = 0, readers_ = 0, writers_ = 0;
};

// The rights that open(2)'s flags give; all where it is not known how the file was opened.
[[nodiscard]] Rights rights_of(const File& file);

}  // namespace ckpt::core
