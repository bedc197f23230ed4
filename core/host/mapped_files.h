// What stat(2) tells of mapped files, asked once for each.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace ckpt::host {

// The status of mapped files: mostly all processes of a tree map the same ones. What the map tells
// of a file is its name, seen from a mount namespace, device and inode.
class MappedFiles {
 public:
  struct Key {
    std::uint64_t mount_namespace, dev_major, dev_minor, ino;
    std::string name;
    auto operator<=>(const Key&) const = default;
  };
  template <class Ask>
  const std::optional<struct stat>& find(const Key& key, const Ask& ask) {
    const auto [at, is_new] = known_.try_emplace(key);
    if (is_new) at->second = ask();
    return at->second;
  }

 private:
  std::map<Key, std::optional<struct stat>> known_;
};

}  // namespace ckpt::host
