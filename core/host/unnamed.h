// Files that no name leads to, but descriptors or mappings of a tree: deleted ones and memfds.
// Their contents go into the image, as what cannot be had any other way.
#pragma once

#include <map>

#include "core/host/process_state.h"

namespace ckpt::host {

struct UnnamedFile {
  format::Inode inode{};   // without references
  std::string name;        // as FILE_NAME has it
  std::string door;        // in /proc: opens it
  std::uint64_t data = 0;  // bytes that are no hole
  std::string why, hint;   // it cannot be held; empty: it can
  [[nodiscard]] Result<Descriptor> open() const;
  void measure(std::uint64_t limit);
};

class UnnamedFiles {
 public:
  using Key = std::pair<std::uint64_t, std::uint64_t>;  // device, inode
  // Nothing is read but where the holes are. `limit`: bytes of a deleted file, holes not counted.
  static UnnamedFiles find(const TreeSnapshot& snapshot, const std::vector<ProcessState>& processes,
                           std::uint64_t limit);
  // Null if it has a name, as far as one can see.
  [[nodiscard]] const UnnamedFile* at(std::uint64_t dev, std::uint64_t ino) const;
  [[nodiscard]] const std::map<Key, UnnamedFile>& all() const { return files_; }

 private:
  // To open a file breaks its leases: one that is leased is not opened.
  void add(const std::string& door, const std::string& name, bool leased);
  std::map<Key, UnnamedFile> files_;
};

}  // namespace ckpt::host
