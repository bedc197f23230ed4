#include "core/lazy_state.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ckpt::core {

TransferData::TransferData(Ref<FileDomain> domain, TransferHead head, std::string_view name)
    : domain_(std::move(domain)),
      size_(sizeof head + name.size()),
      bytes_(std::make_unique<std::byte[]>(size_)) {
  head.size = static_cast<std::uint32_t>(size_);
  std::memcpy(bytes_.get(), &head, sizeof head);
  std::memcpy(bytes_.get() + sizeof head, name.data(), name.size());
  ++domain_->counts.blobs;
}

TransferData::~TransferData() {
  --domain_->counts.blobs;
}

int TransferData::copy_to(std::span<std::byte> out, std::size_t* size) const {
  *size = size_;
  if (out.size() < size_) return -ERANGE;
  std::memcpy(out.data(), bytes_.get(), size_);
  return 0;
}

int TransferData::kind_in(std::span<const std::byte> data, ServerKind* kind) {
  TransferHead head;
  if (data.size() < sizeof head) return -EINVAL;
  std::memcpy(&head, data.data(), sizeof head);
  if (head.size != data.size() || head.kind < ServerKind::regular || head.kind > ServerKind::opaque)
    return -EINVAL;
  *kind = head.kind;
  return 0;
}

LazyHolder::LazyHolder(ObjectHandle kernel, boost::intrusive_ptr<TransferData> data)
    : kernel_(std::move(kernel)), data_(std::move(data)) {
  ++kernel_.server->domain().counts.holders;
}

LazyHolder::~LazyHolder() {
  --kernel_.server->domain().counts.holders;
  const int error = kernel_.server->release(kernel_, kKernelClient);
  CKPT_ASSERT(error == 0);
}

namespace {
template <class Entries>
auto at_or_after(Entries& entries, int fd) {
  return std::lower_bound(entries.begin(), entries.end(), fd,
                          [](const auto& entry, int n) { return entry.fd < n; });
}
}  // namespace

void LazyState::add(int fd, Ref<LazyHolder> holder) {
  const auto at = at_or_after(entries_, fd);
  CKPT_ASSERT(at == entries_.end() || at->fd != fd);
  entries_.insert(at, {fd, std::move(holder)});
}

Ref<LazyHolder> LazyState::find(int fd) const {
  const auto at = at_or_after(entries_, fd);
  return at != entries_.end() && at->fd == fd ? at->holder : nullptr;
}

Ref<LazyHolder> LazyState::take(int fd) {
  const auto at = at_or_after(entries_, fd);
  if (at == entries_.end() || at->fd != fd) return nullptr;
  Ref<LazyHolder> holder = std::move(at->holder);
  entries_.erase(at);
  return holder;
}

}  // namespace ckpt::core
