// What a person or a script wants to know of an image and its records do not say directly: which
// tasks form a process, whose child it is, who uses a pid object, which fds share a file.
//
// Built once, in time and memory linear in the image. The image must be valid (restart/validate.h):
// references are followed without a look.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "format/image.h"

namespace ckpt::cli {

constexpr std::uint32_t kNone = 0xffffffff;

struct ProcessFacts {
  std::uint32_t first = 0;    // its leader's index in Image::tree; the other threads follow
  std::uint32_t threads = 1;  // tasks, the leader counted
  std::uint32_t parent = kNone, first_child = kNone, next_sibling = kNone;  // processes
  std::uint32_t depth = 0;                                                  // below the root
};

enum class ProcessState { running, stopped, zombie, dead, exiting };
const char* state_name(ProcessState state);

struct PidUse {
  std::uint32_t task = kNone;     // index in Image::tree of the task that has it as pid
  std::uint32_t process = kNone;  // index of the process that has it as tgid
  std::uint32_t in_group = 0, in_session = 0;  // processes
  [[nodiscard]] bool ghost() const { return task == kNone && process == kNone; }
};

// What is in flight in a pipe.
struct InFlight {
  std::uint64_t bytes = 0;  // how many, if it is known
  bool known = true;        // all of them are in the image
  bool uncertain = false;   // not even how many
};

class ImageFacts {
 public:
  explicit ImageFacts(const format::Image& image);

  const format::Image& image;
  std::vector<ProcessFacts> processes;  // in tree order
  std::vector<PidUse> uses;             // by pid object
  std::vector<std::uint32_t> ns_inits;  // by namespace: the process that is its init, or kNone
  std::size_t ghosts = 0;
  std::unordered_map<std::int32_t, InFlight>
      in_flight;  // by pipe_objref; those that hold something
  std::unordered_map<std::int32_t, std::vector<const format::FileLock*>> locks;  // by file_objref
  std::unordered_map<std::int32_t, std::vector<const format::Request*>>
      requests;                                          // by the process's pid objref
  std::unordered_map<std::int32_t, std::int32_t> peers;  // of a socket pair, by pipe_objref
  std::unordered_map<std::int32_t, const format::ImageSocket*> sockets;  // by file_objref

  [[nodiscard]] const format::TreeEntry& leader(const ProcessFacts& p) const {
    return image.tree[p.first];
  }
  [[nodiscard]] ProcessState state(const ProcessFacts& p) const;
  // The number in the root namespace that a reference of the tree stands for: 0 for one from
  // outside, none if it is unknown or absent.
  [[nodiscard]] std::optional<std::int32_t> root_nr(std::int32_t ref) const;
  // The index of the pid object, or kNone for the special references.
  [[nodiscard]] std::uint32_t pid_index(std::int32_t ref) const {
    return image.pids.contains(ref) ? static_cast<std::uint32_t>(image.pids.index(ref)) : kNone;
  }
  // "100" or "100/7/1": from the root namespace inwards, '?' for an unknown number.
  [[nodiscard]] std::string numbers(std::uint32_t pid_index) const;
  // Its index in Image::namespaces, from a PID_NS objref; 0 for objref 0.
  [[nodiscard]] std::uint32_t namespace_index(std::int32_t objref) const {
    const auto found = namespace_at_.find(objref);
    return found == namespace_at_.end() ? 0 : found->second;
  }
  // "100" or "100/7": its numbers.
  [[nodiscard]] std::string pid(const ProcessFacts& p) const;
  // "102: read from fd 3": who asks, and for what.
  [[nodiscard]] std::string request(const format::Request& request) const;
  // "bash 100": for lists of processes.
  [[nodiscard]] std::string name(const ProcessFacts& p) const;
  // The process with this number in the root namespace (as thread group id); none: null.
  [[nodiscard]] const ProcessFacts* find(std::int32_t pid) const;
  // Walks all processes, or only `only`, in tree order: fn(const ProcessFacts&).
  template <class Fn>
  void for_each(const ProcessFacts* only, Fn fn) const {
    if (only)
      fn(*only);
    else
      for (const ProcessFacts& p : processes) fn(p);
  }

 private:
  std::unordered_map<std::int32_t, std::uint32_t> namespace_at_;  // by objref
};

// "stream", "datagram", "seqpacket".
const char* socket_type_name(const format::ImageSocket& socket);

// "exited with 3", "killed by signal 9 (SIGKILL)", ", core dumped": wait(2)'s status in words.
std::string describe_exit(std::uint32_t status);

}  // namespace ckpt::cli
