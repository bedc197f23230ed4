// Walking over many objects that lie scattered.
#pragma once

#include <cstddef>
#include <vector>

namespace ckpt::core {

// Calls fn(*items[i]) in order. What it will touch is asked for a few items ahead: the objects lie
// scattered, and a tree may have a million.
template <class T, class Fetch, class Fn>
void for_each_ahead(const std::vector<T*>& items, Fetch fetch, Fn fn) {
  constexpr std::size_t kAhead = 8;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i + 2 * kAhead < items.size()) __builtin_prefetch(items[i + 2 * kAhead]);
    if (i + kAhead < items.size()) fetch(*items[i + kAhead]);
    fn(*items[i]);
  }
}

}  // namespace ckpt::core
