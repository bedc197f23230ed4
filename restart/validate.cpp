#include "restart/validate.h"

#include <algorithm>

#include "restart/forest.h"

namespace ckpt::restart {

using format::Image;

namespace {

constexpr std::int32_t kPidMax = format::kMaxPids;
constexpr std::uint32_t kMaxNsLevel = 32;  // Linux's MAX_PID_NS_LEVEL
constexpr std::uint32_t kMaxSignal = 64;

class Validator {
 public:
  Validator(const Image& image, const Forest& forest) : image_(image), f_(forest) {}

  Status run() {
    CKPT_CHECK(head());
    CKPT_CHECK(numbers());
    CKPT_CHECK(namespaces());
    CKPT_CHECK(outside());
    for (std::uint32_t i = 0; i < f_.size(); ++i) {
      CKPT_CHECK(f_.is_leader(i) ? process(i) : thread(i));
      CKPT_CHECK(state(i));
      CKPT_CHECK(ids(i));
    }
    CKPT_CHECK(kin());
    CKPT_CHECK(users());
    return groups();
  }

 private:
  static Error bad(const std::string& detail) {
    return damaged("the image is of no possible machine", detail);
  }
  [[nodiscard]] Error bad(std::uint32_t i, const std::string& detail) const {
    return bad("task " + task_text(image_, f_, i) + ": " + detail);
  }
  [[nodiscard]] std::uint32_t ns_of(std::uint32_t i) const { return image_.ns_of(f_.pid[i]); }
  [[nodiscard]] bool container() const { return image_.header.mode == format::kModeContainer; }

  Status head() const {
    if (image_.header.mode != format::kModeContainer && image_.header.mode != format::kModeSubtree)
      return bad("HEADER: mode " + std::to_string(image_.header.mode));
    if (container() && f_.ns_init[0] != 0)
      return bad(0, "the root task of a container does not have number 1");
    if (ns_of(0) != 0) return bad(0, "the root task is not in the root namespace");
    return {};
  }

  // In range, and given once in each namespace.
  Status numbers() const {
    std::vector<std::pair<std::uint64_t, std::uint32_t>> taken;  // (namespace, number), pid
    bool sorted = true;
    taken.reserve(image_.pids.size());
    for (std::uint32_t i = 0; i < image_.pids.size(); ++i) {
      const auto list = image_.pids.numbers(i);
      std::uint32_t ns = image_.ns_of(i);
      for (std::size_t level = list.size(); level-- > 0; ns = f_.ns_parent[ns]) {
        const std::int32_t nr = list[level];
        if (nr == format::kNrUnknown) continue;
        if (nr < 1 || nr >= kPidMax)
          return bad("pid " + numbers_text(image_, i) + ": number " + std::to_string(nr) +
                     " is out of range");
        if (nr == 1 && level + 1 != list.size())
          return bad("pid " + numbers_text(image_, i) +
                     ": number 1 of a namespace that it is not " + "innermost in");
        const std::uint64_t key = std::uint64_t{ns} << 32 | static_cast<std::uint32_t>(nr);
        sorted &= taken.empty() || taken.back().first <= key;
        taken.emplace_back(key, i);
      }
    }
    if (!sorted) std::sort(taken.begin(), taken.end());
    for (std::size_t k = 1; k < taken.size(); ++k)
      if (taken[k].first == taken[k - 1].first)
        return bad("number " + std::to_string(taken[k].first & 0xffffffff) +
                   " is given twice in namespace " + std::to_string(taken[k].first >> 32) +
                   ": to pids " + numbers_text(image_, taken[k - 1].second) + " and " +
                   numbers_text(image_, taken[k].second));
    return {};
  }

  Status namespaces() {
    const std::size_t n = image_.namespaces.size();
    std::vector<bool> living(n);
    for (std::uint32_t i = 0; i < f_.size(); ++i) living[ns_of(i)] = true;
    for (std::size_t k = 0; k < n; ++k) {
      const auto& ns = image_.namespaces[k];
      const std::string name = "namespace " + std::to_string(k);
      if (ns.level > kMaxNsLevel) return bad(name + " is nested too deep");
      if (ns.state > format::kNsDead) return bad(name + ": state " + std::to_string(ns.state));
      const std::uint32_t init = f_.ns_init[k];
      const bool has_init = init != kNoTask;
      if (has_init && !f_.is_leader(init)) return bad(init, "number 1, but no leader");
      const bool gone = has_init && image_.zombie(init) && !has_threads(init);
      const bool dying = has_init && image_.kin_of(init).exiting != 0;
      if (k > 0 && ns.state == format::kNsAlive && !has_init)
        return cannot("the image cannot be restarted",
                      name + " has no init: that is outside of the tree",
                      "checkpoint a tree that holds the namespace's init");
      if (k > 0 && ns.state == format::kNsAlive && (gone || dying))
        return bad(name + " has no init that lives");
      if (ns.state == format::kNsEmpty && living[k]) return bad(name + " is empty, but has tasks");
      if (ns.state == format::kNsExiting && (!has_init || !dying))
        return bad(name + " has no init that is dying");
      if (ns.state == format::kNsDead && living[k] && !gone)
        return bad(name + " is dead, but has tasks");
      // Above a namespace that lives, all live.
      if (k > 0 && ns.state == format::kNsAlive &&
          image_.namespaces[f_.ns_parent[k]].state != format::kNsAlive)
        return bad(name + " lives in one that does not");
    }
    return {};
  }

  [[nodiscard]] bool has_threads(std::uint32_t i) const {
    return i + 1 < f_.size() && f_.leader[i + 1] == i;
  }

  Status process(std::uint32_t i) const {
    const std::uint32_t parent = f_.parent[i];
    if (parent == kNoTask) return {};
    if (!f_.ns_within(ns_of(i), ns_of(parent)))
      return bad(i, "its namespace is not that of its parent, nor below it");
    if (image_.zombie(parent) && !has_threads(parent))
      return bad(i, "its parent " + task_text(image_, f_, parent) + " is a zombie");
    return {};
  }

  Status thread(std::uint32_t i) const {
    const std::uint32_t leader = f_.leader[i];
    if (f_.parent[i] != f_.parent[leader] || f_.pgid[i] != f_.pgid[leader] ||
        f_.sid[i] != f_.sid[leader])
      return bad(i, "a thread whose parent, process group or session is not its leader's");
    if (ns_of(i) != ns_of(leader)) return bad(i, "a thread in another namespace than its leader");
    if (image_.zombie(i)) return bad(i, "a thread that is a zombie and no leader");
    if (image_.kin_of(leader).exiting != 0) return bad(i, "a thread of a process that is dying");
    return {};
  }

  Status state(std::uint32_t i) const {
    const format::Task& t = image_.tasks[i];
    if (t.state != format::kTaskRunning && t.state != format::kTaskStopped)
      return bad(i, "state " + std::to_string(t.state));
    if (t.exit_state != 0 && t.exit_state != format::kExitZombie)
      return bad(i, "exit state " + std::to_string(t.exit_state));
    const bool zombie = image_.zombie(i) && !has_threads(i);
    if (image_.zombie(i) && t.state != format::kTaskRunning)
      return bad(i, "a zombie that is stopped");
    if (!zombie && t.exit_code != 0 && image_.kin_of(i).exiting == 0)
      return bad(i, "an exit code, but no zombie and no dying init");
    if (t.exit_code > 0xffff) return bad(i, "exit code " + std::to_string(t.exit_code));
    if (t.exit_signal > kMaxSignal) return bad(i, "exit signal " + std::to_string(t.exit_signal));
    if (image_.tree[i].depth != image_.pids.depth(f_.pid[i]))
      return bad(i, "depth " + std::to_string(image_.tree[i].depth) + " is not that of its pid");
    return {};
  }

  Status ids(std::uint32_t i) const {
    const Id pgid = f_.pgid[i], sid = f_.sid[i];
    if (container() && (pgid < 0 || sid < 0)) return bad(i, "an id from outside, in a container");
    for (const auto& [id, what] : {std::pair{pgid, "process group "}, std::pair{sid, "session "}}) {
      if (id < 0) continue;
      const std::uint32_t user = f_.task[static_cast<std::size_t>(id)];
      if (user != kNoTask && !f_.is_leader(user))
        return bad(i, what + id_text(image_, id) + " is the id of a thread");
      if (!f_.ns_within(ns_of(i), image_.ns_of(static_cast<std::size_t>(id))) && what[0] == 's')
        return bad(i, what + id_text(image_, id) + " is of a namespace that it is not in");
    }
    if (sid >= 0) {
      const std::uint32_t leader = f_.task[static_cast<std::size_t>(sid)];
      if (leader != kNoTask && f_.sid[leader] != sid)
        return bad(i, "session " + id_text(image_, sid) + ", whose task is in session " +
                          id_text(image_, f_.sid[leader]));
    }
    if (f_.is_leader(i) && f_.leads_session(i) && !f_.leads_group(i))
      return bad(i, "leads its session, but is in process group " + id_text(image_, pgid));
    return {};
  }

  Status kin() const {
    const std::int32_t first = image_.namespaces[0].objref;
    std::vector<bool> has_maker(image_.namespaces.size());
    for (const auto& [i, k] : image_.kin) {
      if (i >= f_.size()) return bad("TASK_KIN of no task");
      if (k.subreaper > 2 || k.exiting > 1) return bad(i, "TASK_KIN: a value out of range");
      if (!f_.is_leader(i) && (k.subreaper != 0 || k.exiting != 0))
        return bad(i, "a thread that is a subreaper, or dying, by itself");
      if (k.exiting != 0 && (f_.ns_init[ns_of(i)] != i || image_.zombie(i)))
        return bad(i, "dying, but not the init of a namespace");
      if (k.child_ns == 0) continue;
      const std::int64_t n = std::int64_t{k.child_ns} - first;
      if (n < 0 || n >= static_cast<std::int64_t>(image_.namespaces.size()))
        return bad(i, "pid_for_children " + std::to_string(k.child_ns) + " is no namespace");
      if (n == ns_of(i) || !f_.ns_within(static_cast<std::uint32_t>(n), ns_of(i)))
        return bad(i, "pid_for_children is not below its own namespace");
      if (image_.zombie(i)) return bad(i, "a zombie with pid_for_children");
      if (image_.namespaces[static_cast<std::size_t>(n)].state != format::kNsEmpty) continue;
      // Nobody else can have one before its init is there: fork makes the child that, clone of a
      // thread is refused, and it cannot be opened for setns.
      if (f_.ns_parent[static_cast<std::size_t>(n)] != ns_of(i))
        return bad(i, "pid_for_children is empty, and was not made in its own namespace");
      if (has_maker[static_cast<std::size_t>(n)])
        return bad(i, "pid_for_children is empty, and another thread's too");
      has_maker[static_cast<std::size_t>(n)] = true;
    }
    return {};
  }

  // Whoever restarts has one session and one group, which stand for those from outside.
  Status outside() const {
    const auto both = [](const std::vector<Id>& ids) {
      return std::find(ids.begin(), ids.end(), kOutside) != ids.end() &&
             std::find(ids.begin(), ids.end(), kInvisible) != ids.end();
    };
    if (both(f_.sid) || both(f_.pgid))
      return cannot("the image cannot be restarted",
                    std::string("its tasks are in two ") +
                        (both(f_.sid) ? "sessions" : "process groups") +
                        " from outside, one visible in the root namespace and one not",
                    "end what entered the namespace from outside, then checkpoint again");
    return {};
  }

  // Every pid object has a user, as else its numbers were free.
  Status users() const {
    std::vector<bool> used(image_.pids.size());
    for (std::uint32_t i = 0; i < f_.size(); ++i)
      for (const Id id : {static_cast<Id>(f_.pid[i]), f_.pgid[i], f_.sid[i]})
        if (id >= 0) used[static_cast<std::size_t>(id)] = true;
    for (std::size_t p = 0; p < used.size(); ++p)
      if (!used[p]) return bad("pid " + numbers_text(image_, p) + " is nobody's");
    return {};
  }

  // A process group lies within one session; so does that of a session's leader.
  Status groups() const {
    std::vector<Id> session(image_.pids.size(), kFree);
    for (std::uint32_t i = 0; i < f_.size(); ++i) {
      const Id pgid = f_.pgid[i], sid = f_.sid[i];
      if (pgid < 0) continue;
      Id& s = session[static_cast<std::size_t>(pgid)];
      if (s == kFree) s = sid;
      if (s != sid)
        return bad(i, "process group " + id_text(image_, pgid) + " lies in sessions " +
                          id_text(image_, s) + " and " + id_text(image_, sid));
    }
    for (std::uint32_t i = 0; i < f_.size(); ++i) {
      // A group with the number of a session is that of the session's leader.
      if (f_.sid[i] < 0) continue;
      const Id s = session[static_cast<std::size_t>(f_.sid[i])];
      if (s != kFree && s != f_.sid[i])
        return bad(i, "process group " + id_text(image_, f_.sid[i]) + " is not in the session of " +
                          "that number");
    }
    return {};
  }

  const Image& image_;
  const Forest& f_;
};

template <class T>
Status sorted_refs(const char* what, const std::vector<T>& list, std::vector<std::int32_t>& refs) {
  refs.reserve(list.size());
  for (const T& object : list) refs.push_back(object.ref);
  std::sort(refs.begin(), refs.end());
  if (std::adjacent_find(refs.begin(), refs.end()) != refs.end())
    return damaged("the image is of no possible machine",
                   std::string("two ") + what + " with one objref");
  return {};
}

Status validate_files(const Image& image, const Forest& f) {
  std::vector<std::int32_t> files, tables, contexts;
  CKPT_CHECK(sorted_refs("files", image.files, files));
  CKPT_CHECK(sorted_refs("fd tables", image.file_tables, tables));
  CKPT_CHECK(sorted_refs("file system contexts", image.fs, contexts));
  const auto has = [](const std::vector<std::int32_t>& refs, std::int32_t ref) {
    return std::binary_search(refs.begin(), refs.end(), ref);
  };
  for (const auto& table : image.file_tables) {
    const auto bad = [&](std::int32_t fd, const char* why) {
      return damaged("the image is of no possible machine",
                     "fd table " + std::to_string(table.ref) + ": fd " + std::to_string(fd) + why);
    };
    std::int32_t last = -1;
    for (const format::FileDesc& d : table.fds) {
      if (d.fd_descriptor <= last) return bad(d.fd_descriptor, " is not in ascending order");
      last = d.fd_descriptor;
      if (d.fd_close_on_exec > 1 || d.fd_pending > 1) return bad(last, ": a flag out of range");
      if (!has(files, d.fd_objref)) return bad(last, " refers to no file");
    }
  }
  for (std::uint32_t i = 0; i < image.objs.size(); ++i) {
    const format::TaskObjs& o = image.objs[i];
    const auto bad = [&](const char* why) {
      return damaged("the image is of no possible machine",
                     "task " + task_text(image, f, i) + ": " + why);
    };
    if (image.zombie(i) && (o.files_objref != 0 || o.fs_objref != 0))
      return bad("a zombie with files");
    if (o.files_objref != 0 && !has(tables, o.files_objref)) return bad("refers to no fd table");
    if (o.fs_objref != 0 && !has(contexts, o.fs_objref))
      return bad("refers to no file system context");
    // Threads share these, but for a leader that is dead.
    if (f.leader[i] != i && !image.zombie(i - 1)) {
      const format::TaskObjs& p = image.objs[i - 1];
      if (o.files_objref != p.files_objref || o.fs_objref != p.fs_objref)
        return bad("a thread with files of its own");
      if (o.mm_objref != p.mm_objref || o.sighand_objref != p.sighand_objref ||
          o.signal_objref != p.signal_objref)
        return bad("a thread with memory or signals of its own");
    }
  }
  return {};
}

}  // namespace

Status validate(const Image& image) {
  CKPT_TRY(const Forest forest, make_forest(image));
  CKPT_CHECK(Validator(image, forest).run());
  return validate_files(image, forest);
}

}  // namespace ckpt::restart
