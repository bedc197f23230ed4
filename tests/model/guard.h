// Goes on after a crash in what is checked, so that its history can be told.
#pragma once

#include <functional>

namespace ckpt::model {

// Runs `fn`; false if it failed an assert or overran the stack. What it held then is lost (this is
// for a program that reports the crash and fails). Under a sanitizer the crash is not caught: the
// sanitizer's own report says more.
bool survives(const std::function<void()>& fn);

}  // namespace ckpt::model
