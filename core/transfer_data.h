// What travels with a handle that is given lazily: the bytes from which a client object is made
// again at reopening. (K42's xferData. The server takes nothing from them: what it knows of a
// client is in its own client data, and it refuses bytes that are not exactly those that it gave.)
#pragma once

#include <boost/smart_ptr/intrusive_ref_counter.hpp>
#include <cstddef>
#include <memory>
#include <span>

#include "core/file_domain.h"

namespace ckpt::core {

// Servers by what they speak for. In transfer data: the type of the client object.
enum class ServerKind : std::uint32_t { regular = 1, directory, stream, tty, socket, opaque };

// Layout of transfer data. A directory's name follows it, unterminated: its client object reads
// entries by name.
struct TransferHead {
  std::uint32_t size;  // bytes in all, head included
  ServerKind kind;
  std::uint32_t flags, mode;  // File's when it was given
  std::uint64_t dev, ino;     // File's; 0: unknown
};
static_assert(sizeof(TransferHead) == 32);

// Never changes, and is shared by the server that gave it and the LazyHolder.
class TransferData : public boost::intrusive_ref_counter<TransferData, boost::thread_safe_counter> {
 public:
  TransferData(Ref<FileDomain> domain, TransferHead head, std::string_view name);
  ~TransferData();
  TransferData(const TransferData&) = delete;
  TransferData& operator=(const TransferData&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {bytes_.get(), size_}; }
  // 0, and `out` begins with the bytes; -ERANGE if it is too small, and nothing is written. `*size`
  // is how many they are in either case.
  int copy_to(std::span<std::byte> out, std::size_t* size) const;
  // The kind in data that has come from elsewhere; -EINVAL if it is none.
  static int kind_in(std::span<const std::byte> data, ServerKind* kind);

 private:
  Ref<FileDomain> domain_;
  std::size_t size_;
  std::unique_ptr<std::byte[]> bytes_;
};

}  // namespace ckpt::core
