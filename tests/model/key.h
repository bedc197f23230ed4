// Keys of machines and images up to the names of things: two machines that differ in the numbers of
// their pids alone have the same key.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "format/image.h"
#include "tests/model/call.h"

namespace ckpt::model {

// 128 bits of a hash: two of a hundred million keys are equal by accident with a chance of 10^-22.
struct Key {
  std::uint64_t low = 0, high = 0;
  friend bool operator==(const Key&, const Key&) = default;
};
struct KeyHash {
  std::size_t operator()(const Key& key) const { return key.low; }
};

// The machine with all that any later call may depend on: what an image holds, what is outside of
// the root's tree, and what the kernel remembers beside (has_child_subreaper). Ids get new names in
// the order in which a walk through the tree meets them. Left out: number 1 aside, all numbers; the
// order of groups' and sessions' members.
Key state_key(World& world);

// The image but for its numbers and its head's host and time. References are not renamed: the
// checkpoint gives them in the order in which its walk through the tree meets the objects.
Key image_key(const format::Image& image);

}  // namespace ckpt::model
