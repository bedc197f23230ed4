// Objects that a command has until its process ends.
#pragma once

#include <deque>
#include <utility>

namespace ckpt::cli {

// Lives as long as the process, and is not taken apart then: of a large image that takes a while.
template <class T>
T& for_ever(T object) {
  static std::deque<T>& all = *new std::deque<T>;
  return all.emplace_back(std::move(object));
}

}  // namespace ckpt::cli
