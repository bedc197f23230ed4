#include "restart/host_executor_rebirth.h"

#include <cerrno>

#include "core/host/proc_fs.h"
#include "core/host/proc_text.h"

namespace ckpt::restart {

namespace {

void become(const void* rebirth, std::size_t task) {
  static_cast<const Rebirth*>(rebirth)->become(task);
}

// Has one of them come to its end on the way? It says so itself, unless it was killed.
Status check_tasks(const format::Image& image, const Forest& forest, const Rebirth& rebirth,
                   const HostTree& tree) {
  for (std::size_t i = 0; i < image.tree.size(); ++i)
    if (rebirth.report(i).state == Rebirth::State::failed) return rebirth.error(i);
  CKPT_TRY(const auto pids, tree.pids());
  const host::ProcFs proc("/proc");
  for (std::size_t i = 0; i < pids.size(); ++i) {
    if (!forest.is_leader(i) || image.zombie(i)) continue;
    const auto text = proc.read(std::to_string(pids[i]) + "/stat");
    const auto stat = text ? host::parse_stat(*text) : text.error();
    if (!stat || stat->state == 'Z' || stat->state == 'X')
      return cannot("cannot restore process " + task_text(image, forest, i),
                    "it was killed on its way", {}, ECHILD);
  }
  return {};
}

Status await_rebirths(const format::Image& image, const Forest& forest, const Rebirth& rebirth,
                      const HostTree& tree) {
  constexpr int kPatience = 500;  // milliseconds without progress
  for (std::size_t ready = 0; ready < rebirth.tasks();) {
    const std::size_t before = std::exchange(ready, rebirth.wait_ready(ready, kPatience));
    if (ready == before) CKPT_CHECK(check_tasks(image, forest, rebirth, tree));
  }
  return {};
}

}  // namespace

Result<HostTree> restore_processes(const format::Image& image, const Plan& plan,
                                   const PageStore& pages, const RealOptions& real) {
  CKPT_TRY(const Forest forest, make_forest(image));
  CKPT_TRY(Rebirth rebirth,
           Rebirth::prepare(image, forest, pages,
                            {real.place != HostOptions::Place::new_numbers, real.groups, &plan}));
  if (real.note)
    for (const std::string& sentence : rebirth.notes()) real.note(sentence);
  HostOptions options;
  options.place = real.place;
  options.keep_session = real.keep_session;
  options.become = become;
  options.context = &rebirth;
  options.keep_fds_from = rebirth.first_own_fd();
  options.gifts = rebirth.gifts();
  CKPT_TRY(HostTree tree, carry_out(image, plan, options));
  CKPT_CHECK(await_rebirths(image, forest, rebirth, tree));
  CKPT_TRY(const auto pids, tree.pids());
  const auto pid_of = [&](std::size_t task) { return pids[task]; };
  CKPT_CHECK(tree.stop());
  CKPT_CHECK(rebirth.settle(pid_of));
  if (real.on_placed) real.on_placed(pids[0]);
  rebirth.release();
  CKPT_CHECK(rebirth.finish(pid_of));
  CKPT_CHECK(tree.commit(real.detach));
  return tree;
}

}  // namespace ckpt::restart
