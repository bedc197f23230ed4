// What a frozen process is made of, as it goes into an image, and the obstacles to that. Filled in
// three steps, none of which copies memory: gather_outside() by /proc and ptrace alone;
// obstacles(); gather_inside() by calls that the process itself makes (core/host/inject.h).
#pragma once

#include "core/host/freeze.h"
#include "core/host/inject.h"
#include "core/host/maps_text.h"
#include "core/host/page_scan.h"
#include "format/image.h"

namespace ckpt::host {

// Why a tree cannot be checkpointed: all reasons are found before anything is copied.
struct Obstacle {
  pid_t pid = 0;
  std::string comm;
  std::string object;  // "fd 5", "mapping 7f..", "seccomp"
  std::string why;
  std::string hint;
  [[nodiscard]] std::string text() const;  // "process 12 (sh): fd 5: a socket (hint)"
};

struct ThreadState {
  pid_t tid = 0;
  FrozenThread* frozen = nullptr;
  format::ImageThread image;
  format::ImageCred cred;
  std::uint64_t clear_child_tid = 0, robust_list = 0;
  std::uint32_t robust_list_length = 0, pdeath_signal = 0;
};

// What a descriptor's fdinfo tells beyond position and flags.
struct DescriptorState {
  int fd = -1;
  format::ImageFileState image;  // kind 0: nothing
};

struct ProcessState {
  const ProcessSnapshot* snapshot = nullptr;
  ProcessMemory memory;
  PageScanner pages;
  InjectionSite site;
  std::vector<Mapping> mappings;
  format::ImageMm mm;  // its vmas are those of `mappings` that go into the image, in the same order
  std::vector<std::size_t> vma_mapping;  // for each vma the index of its mapping
  format::ImageSighand sighand;
  format::ImageSignal signal;
  bool subreaper = false;
  bool shadow_stack = false;                 // in use by a thread
  bool stops = false;                        // a SIGSTOP waits to be taken: as good as stopped
  std::vector<DescriptorState> descriptors;  // those with an inside
  std::vector<ThreadState> threads;          // ascending tids
  bool tells_semaphores = true;        // false: of an eventfd it is not told whether it is one
  std::vector<std::string> surprises;  // what gather_inside() found that no image can hold
  std::optional<Injector> injector;    // from gather_inside() on
};

// Of all processes that are no zombies, in tree order; or of one. errno ESRCH if it has ended.
Result<std::vector<ProcessState>> gather_outside(FrozenTree& tree);
Result<ProcessState> gather_outside(const ProcessSnapshot& process, FrozenTree& tree);
// The part of it that asks as their tracer.
Status gather_traced(ProcessState& process);
// errno EAGAIN: see Injector::prepare(). The last thread of each that was asked is left where it
// has told us: until put_back() it must not be let go, though it may be killed.
Status gather_inside(std::span<ProcessState> processes);
// All threads are where they were again. Errors of one do not keep others from it.
Status put_back(std::span<ProcessState> processes);

// From /proc/PID/status; without securebits, which it does not show.
Result<format::ImageCred> parse_credentials(std::string_view status_text);

// Removes a mapping from a running process by a call of its own, once no thread's ip lies in it.
// errno ETIMEDOUT if one stays there for 5 seconds.
Status remove_mapping(pid_t pid, std::uint64_t begin, std::uint64_t size);

struct Contents;
// Everything in the tree that an image cannot hold yet, or that a restore could not bring back, as
// far as it shows from outside; and what gather_inside() has found of it.
std::vector<Obstacle> find_obstacles(const TreeSnapshot& snapshot,
                                     const std::vector<ProcessState>& processes,
                                     const Contents& contents);
std::vector<Obstacle> find_inner_obstacles(const std::vector<ProcessState>& processes);

}  // namespace ckpt::host
