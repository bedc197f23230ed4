// What the coordinator and the actors share: a file, mapped at the same address by every actor.
// Each task of the real tree is an actor with a slot of its own, in which it is told one system
// call at a time and leaves the result. The layout is plain words, for the actors have no library.
//
// States of a slot: idle (turn == done), called (turn == done + 1, the actor is at it, or it has
// stopped, died or become another program on the way).
#pragma once

#include <cstdint>

namespace ckpt::conformance {

constexpr unsigned kSlots = 256;
constexpr std::uint64_t kMailboxAddress = 0x200000000000;  // in every actor
constexpr unsigned kStackSize = 8192;                      // bytes

enum Kind : std::uint32_t {
  kCall,   // the system call nr(args)
  kClone,  // the same; it creates a task whose slot is `child`
  kSetns,  // opens data as a path, calls setns(fd, args[0]), closes the fd
};

struct alignas(1024) Slot {
  std::uint32_t turn;  // counted up by the coordinator: there is something to do. A futex
  std::uint32_t done;  // the turn that was answered last
  std::uint32_t born;  // how often a program began here: at the birth, and after each execve
  std::uint32_t kind;
  std::int64_t nr, args[6];
  std::int64_t result;  // as the kernel gives it: a value or -errno
  std::uint64_t child;  // address of the child's slot
  char self[40];        // /proc/thread-self as the link says: "tgid/task/tid"
  char data[768];       // what pointers among the arguments point to
};

struct Mailbox {
  alignas(1024) std::uint32_t bell;  // counted up by whoever has an answer. A futex
  Slot slots[kSlots];
  // Every actor but one after execve stands on a stack of its own here.
  alignas(4096) unsigned char stacks[kSlots][kStackSize];
};

}  // namespace ckpt::conformance
