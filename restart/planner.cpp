// The passes of the planner.
//
// The creation cases [LC-12]. X is born by a creator whose session, at that moment, is the one that
// X is to have (or any, if X will call setsid). P is the parent that X has in the end, S its
// session, L the leader of S.
//
//   leader       X = L. P forks X, X calls setsid. It may be born in any session, which others may
//                decide (`before`).
//   inherited    P is in S in the end. P forks X, after its setsid if P = L.
//   before       P is not in S, but leads its own session: it forks X before its setsid, so P
//                itself must be born in S. This propagates up the ancestry.
//   sibling      P is not in S, but has a child in S already (L, or one born this way): that one
//                clones X with CLONE_PARENT. A namespace's init cannot; a namespace deeper than P's
//                is no obstacle.
//   placeholder  L lives below P, further down: L forks a helper, the helper forks X and exits, X
//                floats up to P, which is the init of its namespace or a subreaper for that while.
//   early        Others need X before its turn among its siblings: P (or, if X must once have lived
//                below another process, that one) forks a helper, which forks X. When its turn has
//                come the helper exits, and X floats up to P.
//   deputy       X is of the case `before` (or inherits a group that P leaves), but what X needs
//                comes after P's setsid: a helper of P's stays where P was, and makes X, a sibling.
//   block        X is a sibling of L's, in a namespace deeper than P's, and is needed before its
//                turn: alone it cannot float up to P, but with L and all between them, below one
//                helper, it can.
//   ghost        L is dead: a ghost with its id is born as a child of the lowest P that needs it.
//                It serves as L then. The ghost of a group's leader is a child of L, or of its
//                ghost.
//   signal       X's exit signal is not SIGCHLD, so X is no orphan, and P was never in S: L was
//   born
//                beside X with that signal. If L's is another now, L makes a sibling helper, who
//                makes X, and calls execve.
//   outside      S is from outside, P is the init of a namespace: L is a helper of the restorer's.
//   group        Neither X nor P can name X's group, so X is born into it: P is in it then, or a
//                helper is, put there from outside of the namespace whose init P is. A helper joins
//                for a creator that cannot. If P can name it, but leaves the session, P first leads
//                X through that and all others where X's children are to be born, or a helper does,
//                whose orphan X is then; and X founds before what it must.
//   thread       by the leader of its thread group, when all processes and groups are there.
//   zombie, dead leader, stopped, subreaper: born as if alive; they become it in the last phases.
//   namespaces   X's creator enters X's namespace by setns. The init of one is born by a task
//                in the parent namespace with CLONE_NEWPID; if P is not in that, by a carrier in
//                there that clones it with CLONE_PARENT.
//
// Why it is enough: whoever creates is an ancestor in the tree of creations, and the parent in the
// end and the session's leader are both among them. So for each X, P and L are comparable there: L
// below P is sibling, placeholder or early; L above P is inherited or before. README.md says more.
#include "restart/planner.h"

#include "restart/planner_parts.h"

namespace ckpt::restart {

Planner::Planner(const format::Image& image, Forest forest, Prefer prefer)
    : image_(image), f_(std::move(forest)), prefer_(prefer) {}

Result<Plan> Planner::run() {
  CKPT_CHECK(find_births());
  begin(Phase::create);
  CKPT_CHECK(create());
  begin(Phase::groups);
  CKPT_CHECK(groups());
  begin(Phase::threads);
  threads();
  begin(Phase::namespaces);
  CKPT_CHECK(namespaces());
  begin(Phase::ghosts);
  ghosts_end();
  begin(Phase::zombies);
  zombies();
  begin(Phase::subreapers);
  subreapers();
  begin(Phase::stops);
  stops();
  begin(Phase::done);
  return std::move(plan_);
}

Error Planner::refuse(std::uint32_t i, const std::string& why) const {
  return cannot("cannot plan the restart", "task " + name(i) + ": " + why);
}

Result<Plan> make_plan(const format::Image& image) {
  CKPT_TRY(Forest forest, make_forest(image));
  Planner first(image, std::move(forest), Planner::Prefer::host);
  auto plan = first.run();
  if (plan.has_value() || !first.had_choice()) return plan;
  CKPT_TRY(Forest again, make_forest(image));
  auto other = Planner(image, std::move(again), Planner::Prefer::lift).run();
  return other.has_value() ? other : plan;
}

}  // namespace ckpt::restart
