#include "tests/model/key.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>

namespace ckpt::model {

using core::Pid;
using core::PidNs;
using core::Process;
using core::Task;

namespace {

class Buffer {
 public:
  void put(std::uint32_t value) {
    if (value < 0xff) {
      bytes_.push_back(static_cast<std::uint8_t>(value));
      return;
    }
    bytes_.push_back(0xff);
    for (int i = 0; i < 4; ++i) bytes_.push_back(static_cast<std::uint8_t>(value >> 8 * i));
  }
  [[nodiscard]] Key key() const {
    const XXH128_hash_t hash = XXH3_128bits(bytes_.data(), bytes_.size());
    return {hash.low64, hash.high64};
  }

 private:
  std::vector<std::uint8_t> bytes_;
};

// Names in the order of the first encounter. Machines here are small: a search costs little.
template <class T>
class Names {
 public:
  std::uint32_t name(const T* thing, bool* is_new) {
    const auto at = std::find(seen_.begin(), seen_.end(), thing);
    *is_new = at == seen_.end();
    const auto n = static_cast<std::uint32_t>(at - seen_.begin());
    if (*is_new) seen_.push_back(thing);
    return n;
  }

 private:
  std::vector<const T*> seen_;
};

class StateKey {
 public:
  explicit StateKey(World& world) : world_(world) {}

  Key run() {
    core::for_each_process(world_.machine().world(), [&](Process& p) {
      // The depth says where in the tree it stands.
      std::uint32_t depth = 0;
      for (const Process* q = &p; q->parent; q = q->parent) ++depth;
      out_.put(depth);
      process(p);
    });
    return out_.key();
  }

 private:
  void process(const Process& p) {
    id(*p.tgid);
    id(*p.pgrp);
    id(*p.session);
    const bool is_init = p.ns() && p.ns()->init == &p;
    const bool flags[] = {p.zombie,
                          p.stopped,
                          p.execed,
                          p.reaped_outside,
                          p.exiting,
                          is_init,
                          p.subreaper == core::Tri::yes,
                          &p == &world_.root(),
                          p.has_subreaper_above};
    std::uint32_t bits = 0;
    for (const bool flag : flags) bits = bits << 1 | (flag ? 1 : 0);
    out_.put(bits);
    out_.put(static_cast<std::uint32_t>(p.exit_signal));
    out_.put(p.zombie ? p.exit_code : 0);
    for (const Task& t : p.threads) {
      id(*t.pid);
      out_.put(t.exited ? 1 : 0);
      if (t.child_ns)
        ns(*t.child_ns);
      else
        out_.put(0xfe);
    }
  }
  void id(const Pid& pid) {
    bool is_new = false;
    out_.put(pids_.name(&pid, &is_new));
    if (!is_new) return;
    out_.put(pid.outside() ? 1 : 0);
    if (!pid.ns()) return;
    ns(*pid.ns());
    out_.put(pid.nr_at(pid.ns()->level) == 1 ? 1 : 0);
  }
  void ns(const PidNs& space) {
    bool is_new = false;
    out_.put(spaces_.name(&space, &is_new));
    if (!is_new) return;
    out_.put(space.state);
    if (space.parent) ns(*space.parent);
  }

  World& world_;
  Buffer out_;
  Names<Pid> pids_;
  Names<PidNs> spaces_;
};

}  // namespace

Key state_key(World& world) {
  return StateKey(world).run();
}

Key image_key(const format::Image& image) {
  Buffer out;
  const auto put = [&](std::int32_t value) { out.put(static_cast<std::uint32_t>(value)); };
  out.put(image.header.mode);
  out.put(static_cast<std::uint32_t>(image.pids.size()));
  for (std::size_t i = 0; i < image.pids.size(); ++i) {
    out.put(image.ns_of(i));
    for (const std::int32_t nr : image.pids.numbers(i)) out.put(nr == 1 ? 1 : nr < 0 ? 2 : 3);
  }
  out.put(static_cast<std::uint32_t>(image.namespaces.size()));
  for (const format::PidNs& ns : image.namespaces) {
    put(ns.parent);
    out.put(ns.state);
  }
  for (std::size_t i = 0; i < image.tree.size(); ++i) {
    const format::TreeEntry& e = image.tree[i];
    for (const std::int32_t ref : {std::int32_t{e.pid}, std::int32_t{e.ppid}, std::int32_t{e.tgid},
                                   std::int32_t{e.pgid}, std::int32_t{e.sid}})
      put(ref);
    const format::Task& t = image.tasks[i];
    for (const std::uint32_t value : {std::uint32_t{t.state}, std::uint32_t{t.exit_state},
                                      std::uint32_t{t.exit_code}, std::uint32_t{t.exit_signal}})
      out.put(value);
    const format::TaskKin kin = image.kin_of(i);
    put(kin.child_ns);
    out.put(kin.subreaper);
    out.put(kin.exiting);
  }
  return out.key();
}

}  // namespace ckpt::model
