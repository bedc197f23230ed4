// What is asked of every machine: that it is one that Linux could have, and that it comes back from
// its image.
#pragma once

#include <map>
#include <string>
#include <variant>

#include "core/machine.h"
#include "format/image.h"
#include "tests/model/call.h"

namespace ckpt::model {

// Empty, or what of the tree hangs on a process outside of it, so that nobody can make it again
// without that one: a namespace, other than the root's, whose init is outside (LC-15); a dying init
// that waits for an id which only somebody outside still has.
std::string hangs_on_outside(World& world);

// Empty, or which rule of the kernel the machine breaks: about lists and counts, group and session,
// the states of namespaces and of their inits. It would be a fault of the simulated kernel.
std::string broken_invariant(core::Machine& machine);

// The image of the tree below the root, its mode as follows from the tree.
Result<format::Image> image_of(World& world);

enum class Outcome : std::uint8_t {
  restored,    // the same machine came out
  broken,      // broken_invariant(), or no image can be taken
  invalid,     // validate() takes the image for damaged
  refused,     // make_plan() has no plan
  wrong_plan,  // check_plan() finds a fault in the plan
  failed,      // a call of the plan fails in the simulated kernel
  different,   // another machine came out
  crashed,     // an assert, or no end of recursion
  unfit,       // hangs_on_outside(): cannot come back, whoever does it
};
constexpr std::size_t kOutcomes = 9;
const char* outcome_name(Outcome outcome);

struct Verdict {
  Outcome outcome = Outcome::restored;
  std::string reason;  // the error's message, or the differences
};

// validate, make_plan, check_plan, execute, checkpoint, compare.
Verdict check_image(const format::Image& image);
// What comes before: broken_invariant(), hangs_on_outside(), image_of(). The image, or a verdict.
std::variant<format::Image, Verdict> image_or_verdict(World& world);
// Both.
Verdict check_world(World& world);

// The reason with every number replaced by '#': equal for failures of one kind.
std::string kind_of(const std::string& reason);

// The tree of an image, a line for each task.
std::vector<std::string> tree_text(const format::Image& image);

// All a person needs to understand a failure: history, tree, verdict, plan.
std::string report(Start start, const History& history);

}  // namespace ckpt::model
