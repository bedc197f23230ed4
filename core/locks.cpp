#include "core/locks.h"

#include <algorithm>

namespace ckpt::core {

namespace {

bool is_flock(const Lock& lock) {
  return lock.kind == format::kLockFlock;
}
bool same_owner(const Lock& a, const Lock& b) {
  return a.owner == b.owner && a.kind == b.kind;
}
bool overlap(const Lock& a, const Lock& b) {
  return a.start <= b.end && b.start <= a.end;
}

}  // namespace

RankedMutex<LockRank::names>& names_lock() {
  static RankedMutex<LockRank::names> lock;
  return lock;
}

std::vector<Lock> LockList::all() const {
  const std::lock_guard guard(names_lock());
  return locks_;
}

std::optional<Lock> LockList::conflict(const Lock& wanted) const {
  const std::lock_guard guard(names_lock());
  for (const Lock& lock : locks_)
    if (is_flock(lock) == is_flock(wanted) && !same_owner(lock, wanted) && overlap(lock, wanted) &&
        (lock.exclusive || wanted.exclusive))
      return lock;
  return {};
}

void LockList::unset(const Lock& lock) {
  const std::lock_guard guard(names_lock());
  cut_out(lock);
}

void LockList::cut_out(const Lock& lock) {
  std::vector<Lock> left;
  for (const Lock& old : locks_) {
    if (!same_owner(old, lock) || !overlap(old, lock)) {
      left.push_back(old);
      continue;
    }
    Lock part = old;
    if (old.start < lock.start) {
      part.end = lock.start - 1;
      left.push_back(part);
    }
    if (old.end > lock.end) {
      part.start = lock.end + 1;
      part.end = old.end;
      left.push_back(part);
    }
  }
  locks_ = std::move(left);
}

void LockList::set(const Lock& lock) {
  const std::lock_guard guard(names_lock());
  cut_out(lock);
  Lock whole = lock;
  const auto touches = [&](const Lock& old) {
    return same_owner(old, whole) && old.exclusive == whole.exclusive &&
           (old.end + 1 == whole.start || whole.end + 1 == old.start);
  };
  for (auto at = locks_.begin(); at != locks_.end();) {
    if (!touches(*at)) {
      ++at;
      continue;
    }
    whole.start = std::min(whole.start, at->start);
    whole.end = std::max(whole.end, at->end);
    at = locks_.erase(at);
  }
  const auto last = std::find_if(locks_.rbegin(), locks_.rend(),
                                 [&](const Lock& old) { return same_owner(old, whole); });
  auto at = last == locks_.rend() ? locks_.end() : last.base();
  while (at != locks_.begin() && same_owner(at[-1], whole) && at[-1].start > whole.start) --at;
  locks_.insert(at, whole);
}

void LockList::drop(const Object* owner) {
  const std::lock_guard guard(names_lock());
  std::erase_if(locks_, [owner](const Lock& lock) { return lock.owner == owner; });
}

}  // namespace ckpt::core
