// The tree of an image as a person wants to see it: one line a process, ids in columns at the left,
// the tree at the right, ghosts, zombies and borders of namespaces shown as what they are.
#pragma once

#include "cli/image_facts.h"
#include "cli/output.h"

namespace ckpt::cli {

struct TreeOptions {
  bool threads = false;                // a line for each thread too
  std::size_t max_ghosts = SIZE_MAX;   // further ones are only counted
  const ProcessFacts* only = nullptr;  // this process alone
};

void print_tree(Out& out, const Style& style, const ImageFacts& facts, const TreeOptions& options);

}  // namespace ckpt::cli
