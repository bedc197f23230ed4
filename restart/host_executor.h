// Carries a plan out with real processes. They perform the steps themselves, by system calls alone,
// each when its turn has come; no ptrace.
//
// States of a HostTree, in the process that restores (the supervisor):
//   placed     carry_out() has returned: every task has its numbers, parent, group, session and
//              namespace, ghosts are gone, zombies are zombies; each living task is in `become`;
//   stopped    stop() has returned: so are those that are stopped in the image;
//   committed  commit() has returned: the tree no longer depends on the supervisor.
// All or nothing: until it is committed, an error, end(), the HostTree's destruction or the
// supervisor's death (by SIGKILL, too) ends every process that was made, within a second. Other
// children of the supervisor are not touched.
#pragma once

#include <sys/types.h>

#include <climits>
#include <functional>
#include <memory>
#include <span>

#include "restart/step.h"

namespace ckpt::restart {

// Contents that an actor has in memory when it makes its first child, which inherits them: `bytes`
// from `offset` of a file on are read to `address`, where all tasks have private memory.
struct Gift {
  Actor actor;
  std::uint64_t address = 0, offset = 0, bytes = 0;
  // Instead: the protection (mprotect(2)) that this memory gets, once the contents are there.
  std::int32_t protection = -1;
};
struct AddressRange {
  std::uint64_t begin = 0, size = 0;  // bytes
};
struct Gifts {
  std::span<const Gift> all;  // those of one actor stand together
  int file = -1;
  // Where they go; the restorer unmaps it when it has made the last of its children.
  std::span<const AddressRange> memory;
};

struct HostOptions {
  enum class Place {
    own_namespace,  // a new pid namespace, with an init of its own unless the root task is one
    here,           // the present one, with the numbers of the image
    new_numbers,    // the present one; the image is renumbered (restart/renumber.h)
  };
  Place place = Place::own_namespace;
  // own_namespace: a mount namespace that differs from the present one in its /proc alone.
  bool mount_proc = true;
  // Who is in the session that is outside in the image stays in the supervisor's, and so has its
  // terminal.
  bool keep_session = false;
  // What each living process calls when its place is right: in that process, a fork of this one
  // that has its code, its stack and its shared memory, and no heap. Only system calls may happen.
  // It does not return. Null: all tasks sleep. If there is one, the threads are its business, and
  // whatever a thread does by itself.
  void (*become)(const void* context, std::size_t task) = nullptr;
  const void* context = nullptr;
  // Descriptors below this one are closed before `become`.
  int keep_fds_from = INT_MAX;
  Gifts gifts;  // the file's descriptor is not below keep_fds_from
};

namespace real {
struct Shared;
}

class HostTree {
 public:
  HostTree(HostTree&& other) noexcept;
  HostTree& operator=(HostTree&& other) noexcept;
  ~HostTree();

  // The supervisor's child that stands between it and the tree: the init of the new namespace, or
  // the parent of the root task.
  [[nodiscard]] pid_t restorer() const { return restorer_; }
  // The root task, as the supervisor sees it; 0 if it does not (restorer() is the init then).
  [[nodiscard]] pid_t root() const;
  // The processes as the supervisor's /proc shows them, by index in image.tree; 0 for one that is
  // not there. Until the commit.
  [[nodiscard]] Result<std::vector<pid_t>> pids() const;

  // Each is to be called once, in this order. The restorer holds no descriptor of ours after
  // stop(). Errors: kind cannot; nothing is left then.
  Status stop();
  Status commit(bool detach);
  // Waits for the root task's end and gives its status as wait(2) does. Signals of the list are
  // blocked while it waits, and passed on to the root task. `on_stop` is called when that stops,
  // with keep_session. Not after a commit with `detach`.
  Result<int> wait(std::span<const int> forwarded, const std::function<void()>& on_stop = {});
  // Ends the tree: all of it before the commit, or if it has a namespace of its own; else the root
  // task.
  void end();

 private:
  friend Result<HostTree> carry_out(const format::Image& image, const Plan& plan,
                                    const HostOptions& options);
  HostTree() = default;
  [[nodiscard]] char hear() const;
  void say(char what) const;
  void reap();
  void let_go();
  void kill_orphans() const;
  [[nodiscard]] Error failure() const;
  Error give_up();

  // For messages.
  const format::Image* image_ = nullptr;
  const Plan* plan_ = nullptr;
  real::Shared* shared_ = nullptr;
  pid_t restorer_ = 0;
  int pidfd_ = -1;   // of the restorer
  int socket_ = -1;  // to it
  bool committed_ = false;
};

// Carries out `plan` (proved by check_plan) of `image` (passed by validate); both are to live until
// the commit. Error of kind cannot
// with the step, the task, errno and a hint, after which nothing is left; or before anything is
// done: an unknown number, an end that cannot be brought about, and
// - "it could never end": on Linux the init of a pid namespace whose group was founded by a member
//   of that namespace waits for itself when it dies, and nothing but a reboot helps. Such a tree is
//   never made, even if the image holds one.
Result<HostTree> carry_out(const format::Image& image, const Plan& plan,
                           const HostOptions& options = {});

}  // namespace ckpt::restart
