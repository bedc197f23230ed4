// An image in memory: its records, typed, and nothing more. Read from a RecordSource by
// read_image(). What makes sense is checked in restart/validate.h; here only what the layout itself
// demands.
//
// Memory: about 150 bytes for a task without files. Counts are checked against the bytes that are
// there before anything is reserved.
#pragma once

#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "format/process_image.h"
#include "format/record_io.h"

namespace ckpt::format {

// The pid objects, packed. Object i has objref first_ref + i.
class PidTable {
 public:
  [[nodiscard]] std::size_t size() const { return begin_.size() - 1; }
  [[nodiscard]] std::int32_t first_ref() const { return first_ref_; }
  void set_first_ref(std::int32_t ref) { first_ref_ = ref; }
  void reserve(std::size_t pids, std::size_t numbers) {
    begin_.reserve(pids + 1);
    numbers_.reserve(numbers);
  }
  // Numbers from the root namespace down; at least one.
  void add(std::span<const std::int32_t> numbers) {
    numbers_.insert(numbers_.end(), numbers.begin(), numbers.end());
    begin_.push_back(static_cast<std::uint32_t>(numbers_.size()));
  }
  [[nodiscard]] std::span<const std::int32_t> numbers(std::size_t i) const {
    return {numbers_.data() + begin_[i], numbers_.data() + begin_[i + 1]};
  }
  [[nodiscard]] std::uint32_t depth(std::size_t i) const { return begin_[i + 1] - begin_[i] - 1; }
  // Is `ref` one of these objects?
  [[nodiscard]] bool contains(std::int32_t ref) const {
    return ref >= first_ref_ && static_cast<std::size_t>(ref - first_ref_) < size();
  }
  [[nodiscard]] std::size_t index(std::int32_t ref) const {
    return static_cast<std::size_t>(ref - first_ref_);
  }

 private:
  std::int32_t first_ref_ = 1;
  std::vector<std::uint32_t> begin_{0};
  std::vector<std::int32_t> numbers_;
};

struct ImageFile {
  std::int32_t ref = 0;
  File file{};
  std::string path;
};

struct ImageFileTable {
  std::int32_t ref = 0;
  std::vector<FileDesc> fds;  // ascending by fd_descriptor
};

struct ImageFs {
  std::int32_t ref = 0;
  Fs fs{};
  std::string root, cwd;
};

// A piece of what is in flight in a pipe.
struct ImagePipeBuf {
  PipeBuf head{};
  std::string bytes;  // head.length many if head.flags is 0; else none
};

struct Image {
  Header header{};
  std::string release, version, machine, nodename;
  PidTable pids;
  std::vector<PidNs> namespaces;  // parents first; [0] is the root namespace
  std::vector<std::uint32_t>
      pid_ns;  // for each pid object the index of its innermost namespace; empty: all 0
  std::vector<TreeEntry> tree;
  // Parallel to tree:
  std::vector<Task> tasks;
  std::vector<std::array<char, kCommLen>> comms;  // NUL-padded
  std::vector<TaskObjs> objs;
  std::unordered_map<std::uint32_t, TaskKin> kin;  // by index in tree; those that differ from 0
  std::vector<std::string> nodes;                  // names of a cluster's nodes; empty: none
  std::unordered_map<std::uint32_t, std::uint32_t>
      task_nodes;  // of leaders, by index in tree: the index in nodes, where it is not 0
  std::vector<ImageFile> files;
  std::vector<ImageFileTable> file_tables;
  std::vector<ImageFs> fs;
  ProcessImage process;  // memory, registers, signals, credentials
  std::vector<SocketPair> socket_pairs;
  std::vector<FileLock> locks;
  std::vector<Request> requests;        // in the order in which they were asked
  std::string trace;                    // lines; empty: none is in the image
  std::vector<ImagePipeBuf> pipe_bufs;  // those of one pipe together, from the front

  [[nodiscard]] std::uint32_t ns_of(std::size_t pid_index) const {
    return pid_ns.empty() ? 0 : pid_ns[pid_index];
  }
  [[nodiscard]] std::string_view comm(std::size_t task) const;
  [[nodiscard]] TaskKin kin_of(std::size_t task) const;
  // Where the process of this leader executes, an index in nodes.
  [[nodiscard]] std::uint32_t node_of(std::size_t leader) const;
  [[nodiscard]] bool has_memory() const { return (header.features & kFeatureMemory) != 0; }
  [[nodiscard]] bool zombie(std::size_t task) const {
    return tasks[task].exit_state == kExitZombie;
  }
};

// Reads all records through TAIL. Errors: as RecordSource::next(), and kind damaged for a record
// out of place, of a wrong length, an unknown type, a reference to nothing, a count that its bytes
// do not hold, or an image from a newer version (which names both versions). Page contents go to
// `pages`, whose errors are passed on; without one they are checked and dropped.
Result<Image> read_image(RecordSource& source, PageSink* pages = nullptr);

}  // namespace ckpt::format
