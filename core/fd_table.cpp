#include "core/fd_table.h"

#include <algorithm>
#include <cerrno>

#include "core/client_file.h"

namespace ckpt::core {

FdTable::FdTable(Ref<FileDomain> domain)
    : domain_(std::move(domain)), id_(domain_->next_client()) {}

FdTable::~FdTable() = default;

FdTable::Slots::const_iterator FdTable::at_or_after(int fd) const {
  return std::lower_bound(slots_.begin(), slots_.end(), fd,
                          [](const Slot& slot, int n) { return slot.fd < n; });
}

const FdTable::Slot* FdTable::slot(int fd) const {
  const auto at = at_or_after(fd);
  return at != slots_.end() && at->fd == fd ? &*at : nullptr;
}

int FdTable::lowest_free_slot(int from) const {
  for (auto at = at_or_after(from); at != slots_.end() && at->fd == from; ++at) ++from;
  return from;
}

// Under the lock. The new slot is LIVE with `client`, or PENDING with `holder`.
int FdTable::put(Place place, Ref<ClientFile> client, Ref<LazyHolder> holder, Dropped* dropped) {
  const int fd = place.at >= 0 ? place.at : lowest_free_slot(place.lowest);
  const auto at = slots_.begin() + (at_or_after(fd) - slots_.begin());
  Slot fresh{fd, place.cloexec, ++generations_, std::move(client)};
  if (at == slots_.end() || at->fd != fd) {
    slots_.insert(at, std::move(fresh));
  } else {
    dropped->client = std::move(at->client);
    dropped->holder = lazy_.take(fd);
    *at = std::move(fresh);
  }
  if (holder) lazy_.add(fd, std::move(holder));
  return fd;
}

int FdTable::open(const Ref<File>& file, Place place) {
  assert_no_lock_held();
  const Ref<FileServer> server = domain_->server_of(*file);
  ObjectHandle handle;
  if (const int error = server->give_access(file, id_, &handle)) return error;
  const Ref<ClientFile> client = new ClientFile(std::move(handle), id_, server->kind());
  Dropped dropped;
  const std::lock_guard guard(lock_);
  return put(place, client, nullptr, &dropped);
}

int FdTable::open_pending(Ref<LazyHolder> holder, Place place) {
  assert_no_lock_held();
  Dropped dropped;
  const std::lock_guard guard(lock_);
  return put(place, nullptr, std::move(holder), &dropped);
}

int FdTable::dup(int fd, Place place) {
  Ref<ClientFile> client;
  if (const int error = client_of(fd, &client)) return error;
  Dropped dropped;
  const std::lock_guard guard(lock_);
  return put(place, client, nullptr, &dropped);
}

int FdTable::close(int fd, Ref<File>* file) {
  assert_no_lock_held();
  Dropped dropped;
  {
    const std::lock_guard guard(lock_);
    const auto at = slots_.begin() + (at_or_after(fd) - slots_.begin());
    if (at == slots_.end() || at->fd != fd) return -EBADF;
    dropped = {std::move(at->client), lazy_.take(fd)};
    slots_.erase(at);
  }
  if (file) *file = file_of(dropped);
  return 0;
}

// All at one instant.
template <class Which>
void FdTable::close_if(Which which) {
  assert_no_lock_held();
  std::vector<Dropped> dropped;
  const std::lock_guard guard(lock_);
  std::erase_if(slots_, [&](Slot& slot) {
    if (!which(slot)) return false;
    dropped.push_back({std::move(slot.client), lazy_.take(slot.fd)});
    return true;
  });
}

void FdTable::close_range(unsigned first, unsigned last) {
  close_if([=](const Slot& slot) {
    const auto fd = static_cast<unsigned>(slot.fd);
    return fd >= first && fd <= last;
  });
}

void FdTable::close_on_exec() {
  close_if([](const Slot& slot) { return slot.cloexec; });
}

void FdTable::set_cloexec_range(unsigned first, unsigned last) {
  const std::lock_guard guard(lock_);
  for (Slot& slot : slots_) {
    const auto fd = static_cast<unsigned>(slot.fd);
    slot.cloexec |= fd >= first && fd <= last;
  }
}

int FdTable::get_cloexec(int fd) const {
  const std::lock_guard guard(lock_);
  const Slot* found = slot(fd);
  return found ? found->cloexec : -EBADF;
}

int FdTable::set_cloexec(int fd, bool on) {
  const std::lock_guard guard(lock_);
  Slot* found = slot(fd);
  if (!found) return -EBADF;
  found->cloexec = on;
  return 0;
}

Ref<File> FdTable::file_of(const Dropped& refers) {
  Ref<File> file;
  const int error = refers.client ? refers.client->file(kNoRights, &file)
                                  : refers.holder->handle().server->file(
                                        refers.holder->handle(), kKernelClient, kNoRights, &file);
  CKPT_ASSERT(error == 0);
  return file;
}

std::optional<Fd> FdTable::find(int fd) const {
  assert_no_lock_held();
  std::optional<Fd> out;
  Dropped refers;
  {
    const std::lock_guard guard(lock_);
    const Slot* found = slot(fd);
    if (!found) return {};
    refers = {found->client, lazy_.find(fd)};
    out = Fd{fd, found->cloexec, found->client ? FdState::live : FdState::pending, nullptr,
             found->generation};
  }
  out->file = file_of(refers);
  return out;
}

std::optional<std::uint64_t> FdTable::generation(int fd) const {
  const std::lock_guard guard(lock_);
  const Slot* found = slot(fd);
  return found ? std::optional(found->generation) : std::nullopt;
}

std::vector<Fd> FdTable::fds() const {
  assert_no_lock_held();
  std::vector<Fd> out;
  std::vector<Dropped> refers;
  {
    const std::lock_guard guard(lock_);
    out.reserve(slots_.size());
    refers.reserve(slots_.size());
    for (const Slot& s : slots_) {
      out.push_back(
          {s.fd, s.cloexec, s.client ? FdState::live : FdState::pending, nullptr, s.generation});
      refers.push_back({s.client, s.client ? nullptr : lazy_.find(s.fd)});
    }
  }
  for (std::size_t i = 0; i < out.size(); ++i) out[i].file = file_of(refers[i]);
  return out;
}

std::size_t FdTable::size() const {
  const std::lock_guard guard(lock_);
  return slots_.size();
}

int FdTable::next_fd(int from) const {
  const std::lock_guard guard(lock_);
  const auto at = at_or_after(from);
  return at != slots_.end() ? at->fd : -1;
}

int FdTable::lowest_free(int from) const {
  const std::lock_guard guard(lock_);
  return lowest_free_slot(from);
}

bool FdTable::consistent() const {
  const std::lock_guard guard(lock_);
  std::size_t pending = 0;
  int last = -1;
  for (const Slot& s : slots_) {
    const bool has_entry = lazy_.find(s.fd) != nullptr;
    if (s.fd <= last || has_entry == (s.client != nullptr)) return false;
    last = s.fd;
    pending += has_entry ? 1 : 0;
  }
  return pending == lazy_.size();
}

}  // namespace ckpt::core
