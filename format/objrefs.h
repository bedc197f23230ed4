// Which objref is an object of which type, while an image is read. Internal to format/.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace ckpt::format {

enum class ObjKind : std::uint8_t {
  none,
  pid_ns,
  file_table,
  file,
  fs,
  pipe,
  mm,
  shm,
  sighand,
  signal,
  cred,
  inode,
};

// Objrefs of a writer are dense, so a vector holds them; an image that claims scattered ones gets a
// hash table, so that a large objref costs no memory by itself.
class Objrefs {
 public:
  [[nodiscard]] ObjKind kind(std::int32_t ref) const {
    const auto i = static_cast<std::uint32_t>(ref);
    if (i < dense_.size() && dense_[i] != ObjKind::none) return dense_[i];
    if (sparse_.empty()) return ObjKind::none;
    const auto it = sparse_.find(ref);
    return it == sparse_.end() ? ObjKind::none : it->second;
  }
  // ref > 0.
  void set(std::int32_t ref, ObjKind kind) {
    const auto i = static_cast<std::uint32_t>(ref);
    ++count_;
    if (i >= dense_.size()) {
      if (i > base_ + 4 * count_ + 1024) {
        sparse_[ref] = kind;
        return;
      }
      dense_.resize(std::size_t{i} + 1 + i / 2, ObjKind::none);
    }
    dense_[i] = kind;
  }
  // Objrefs up to `refs` are plausible whatever was set so far.
  void expect(std::uint64_t refs) { base_ = refs; }

 private:
  std::vector<ObjKind> dense_;
  std::unordered_map<std::int32_t, ObjKind> sparse_;
  std::uint64_t count_ = 0, base_ = 0;
};

}  // namespace ckpt::format
