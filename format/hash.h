// Hashes of contents. Checksums of the file are in frames.h.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::format {

// XXH3, 64 bits.
std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed);

struct Hash128 {
  std::uint64_t low = 0, high = 0;
  auto operator<=>(const Hash128&) const = default;
};

// XXH3 of 128 bits under a secret. Equal contents of different processes are found by it, so the
// secret is drawn anew for each dump: nobody can prepare a page that would be taken for another's.
class KeyedHash {
 public:
  using Secret = std::array<std::byte, 192>;
  explicit KeyedHash(const Secret& secret) : secret_(secret) {}
  Hash128 operator()(std::span<const std::byte> bytes) const;

 private:
  Secret secret_;
};

}  // namespace ckpt::format
