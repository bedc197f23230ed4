#include "core/pid.h"

#include "core/task.h"

namespace ckpt::core {

Pid* NumberMap::find(Nr nr) const {
  if (nr <= 0) return nullptr;
  const auto page = static_cast<std::size_t>(nr / kPage);
  return page < pages_.size() && pages_[page] ? pages_[page]->pids[nr % kPage] : nullptr;
}

void NumberMap::set(Nr nr, Pid* pid) {
  CKPT_ASSERT(nr > 0 && nr <= kPidMax);
  const auto page = static_cast<std::size_t>(nr / kPage);
  if (page >= pages_.size()) {
    if (!pid) return;
    pages_.resize(page + 1);
  }
  if (!pages_[page]) pages_[page] = std::make_unique<Page>();
  pages_[page]->pids[nr % kPage] = pid;
}

Pid::Pid(Ref<PidNs> ns, std::span<const Nr> numbers, bool is_outside)
    : ns_(std::move(ns)), outside_(is_outside) {
  CKPT_ASSERT(numbers.size() == (ns_ ? ns_->level + 1 : 0));
  if (numbers.empty()) return;
  first_ = numbers[0];
  if (numbers.size() > 1) {
    deeper_ = std::make_unique<Nr[]>(numbers.size() - 1);
    std::copy(numbers.begin() + 1, numbers.end(), deeper_.get());
  }
}

Pid::~Pid() {
  free_numbers();
}

bool Pid::take_numbers() {
  CKPT_ASSERT(!numbered_);
  if (!ns_) return true;
  for (const PidNs* ns = ns_.get(); ns; ns = ns->parent.get()) {
    const Nr nr = nr_at(ns->level);
    if (nr == kNrUnknown) continue;
    if (nr < 1 || nr > kPidMax || ns->find(nr)) return false;
  }
  numbered_ = true;
  for (PidNs* ns = ns_.get(); ns; ns = ns->parent.get()) {
    if (!outside_) ++ns->nr_pids_;
    if (const Nr nr = nr_at(ns->level); nr != kNrUnknown) ns->numbers_.set(nr, this);
  }
  return true;
}

void Pid::free_numbers() {
  if (!numbered_) return;
  numbered_ = false;
  for (PidNs* ns = ns_.get(); ns; ns = ns->parent.get()) {
    if (!outside_) --ns->nr_pids_;
    if (const Nr nr = nr_at(ns->level); nr != kNrUnknown) ns->numbers_.set(nr, nullptr);
  }
}

bool Pid::learn(std::uint32_t level, Nr nr) {
  CKPT_ASSERT(ns_ && level <= ns_->level && nr_at(level) == kNrUnknown);
  PidNs* ns = ns_.get();
  while (ns->level > level) ns = ns->parent.get();
  if (nr < 1 || nr > kPidMax || ns->find(nr)) return false;
  (level == 0 ? first_ : deeper_[level - 1]) = nr;
  if (numbered_) ns->numbers_.set(nr, this);
  return true;
}

std::string to_string(const Pid& pid) {
  if (!pid.ns()) return "invisible";
  std::string s;
  for (std::uint32_t level = 0; level <= pid.ns()->level; ++level) {
    if (level) s += '/';
    const Nr nr = pid.nr_at(level);
    s += nr == kNrUnknown ? "?" : std::to_string(nr);
  }
  return s;
}

}  // namespace ckpt::core
