#include "cli/restore_real.h"

#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <span>

#include "cli/terminal.h"
#include "core/host/signal_set.h"
#include "restart/host_executor_rebirth.h"
#include "restart/planner.h"
#include "restart/rootless.h"

namespace ckpt::cli {

using Place = restart::HostOptions::Place;

namespace {

constexpr int kPassedOn[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
                             SIGUSR2, SIGALRM, SIGCONT, SIGWINCH};

// They stay pending until somebody takes them.
void hold_back(std::span<const int> signals) {
  const sigset_t set = host::signal_set(signals);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

restart::HostOptions::Place place_of(const Arguments& a) {
  return a.has("here") ? Place::here : a.has("no-pids") ? Place::new_numbers : Place::own_namespace;
}

Result<int> restore_for_real(const Console& console, const Arguments& a, const LoadedImage& loaded,
                             const restart::PageStore& pages) {
  CKPT_TRY(const restart::Plan plan, restart::make_plan(loaded.image));
  restart::RealOptions options;
  options.place = place_of(a);
  options.detach = a.has("detach");
  options.keep_session = a.has("shell-job");
  if (restart::is_rootless(options.place)) {
    CKPT_TRY(options.groups, restart::enter_user_namespace());
    console.note("without privileges: in a new user namespace");
  } else {
    ::prctl(PR_SET_DUMPABLE, 1);  // a file capability has made our files in /proc root's
  }
  options.note = [&](const std::string& text) { console.note(text); };
  std::optional<Terminal> terminal;
  pid_t group = 0;
  if (options.keep_session) {
    CKPT_TRY(Terminal own, Terminal::open());
    terminal.emplace(std::move(own));
  }
  // Until then a signal gives the restore up; from then on it is the root process's.
  options.on_placed = [&](pid_t root) {
    if (!options.detach) hold_back(kPassedOn);
    if (terminal) terminal->lend(group = ::getpgid(root));
  };
  CKPT_TRY(restart::HostTree tree, restart::restore_processes(loaded.image, plan, pages, options));
  console.note("restored: " + count_of(loaded.image.tree.size(), "task") + "; " +
               (tree.root() != 0 ? "the root process is " + std::to_string(tree.root()) + " here"
                                 : "the init of their pid namespace is " +
                                       std::to_string(tree.restorer()) + " here"));
  if (options.detach) return 0;
  const auto stop = [&] { terminal->stop_with(group); };
  CKPT_TRY(const int status, tree.wait(kPassedOn, stop));
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

}  // namespace ckpt::cli
