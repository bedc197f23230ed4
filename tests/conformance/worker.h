// A pid namespace of our own, with a /proc of its own, in which all of the real trees live: when
// its init ends, the kernel kills whatever is left.
#pragma once

#include <functional>

namespace ckpt::conformance {

constexpr int kSkipped = 77;  // exit status of a test that cannot be run here

// Runs `work` as that init and returns what it returned; kSkipped, with a word about why, where
// namespaces may not be made. Its process group is outside of the namespace and has a parent in its
// session: it is not orphaned.
int in_own_namespace(const std::function<int()>& work);

}  // namespace ckpt::conformance
