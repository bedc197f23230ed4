#include "cli/restore_real.h"

#include <sys/wait.h>

#include <csignal>

#include "restart/host_executor_rebirth.h"
#include "restart/planner.h"

namespace ckpt::cli {

using Place = restart::HostOptions::Place;

namespace {

constexpr int kPassedOn[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                             SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};

Place place_of(const Arguments& a) {
  return a.has("here") ? Place::here : a.has("no-pids") ? Place::new_numbers : Place::own_namespace;
}

}  // namespace

Result<int> restore_for_real(const Console& console, const Arguments& a, const LoadedImage& loaded,
                             const restart::PageStore& pages) {
  CKPT_TRY(const restart::Plan plan, restart::make_plan(loaded.image));
  const bool detach = a.has("detach");
  CKPT_TRY(restart::HostTree tree,
           restart::restore_processes(loaded.image, plan, pages, place_of(a), detach,
                                      [&](const std::string& text) { console.note(text); }));
  console.note("restored: " + count_of(loaded.image.tree.size(), "task") + "; " +
               (tree.root() != 0 ? "the root process is " + std::to_string(tree.root()) + " here"
                                 : "the init of their pid namespace is " +
                                       std::to_string(tree.restorer()) + " here"));
  if (detach) return 0;
  CKPT_TRY(const int status, tree.wait(kPassedOn));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace ckpt::cli
