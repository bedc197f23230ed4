// A restore by a user without privileges, of processes of his own: in a new user namespace, where
// he may do what it takes. He is the only one who has a number there.
#pragma once

#include <cstdint>
#include <vector>

#include "restart/requirements.h"

namespace ckpt::restart {

// Will a restore at this place have to be in a new user namespace? With the original numbers in the
// present pid namespace it cannot be.
bool is_rootless(HostOptions::Place place);
// What an image has that a user without privileges cannot give: other ids, groups, capabilities;
// and whether there may be user namespaces at all.
std::vector<Requirement> unmet_by_user(const format::Image& image, HostOptions::Place place);

// The calling process, which has one thread, is in a new user namespace afterwards, with all
// capabilities. Its supplementary groups, which have no numbers there and cannot be changed.
Result<std::vector<std::uint32_t>> enter_user_namespace();

}  // namespace ckpt::restart
