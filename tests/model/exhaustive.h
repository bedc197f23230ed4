// The model checker's run over its list of bounds, and what it prints.
#pragma once

#include "tests/model/enumerate.h"

namespace ckpt::model {

// The failures of a run, the shortest histories first: a report of each kind on standard output.
void print_failures(const Counts& counts, std::size_t limit);

// Each of these is a list of bounds that is meant to take about so long in a release build.
enum class Effort : std::uint8_t { brief, normal, thorough };
std::vector<Bounds> bounds_of(Effort effort);

// Prints counts for each and the failures; the exit status: 0 if all machines came back.
int run_exhaustive(const std::vector<Bounds>& list, bool every_length);

}  // namespace ckpt::model
