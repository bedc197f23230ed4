#include "format/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace ckpt::format {

std::uint64_t hash64(std::span<const std::byte> bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

Hash128 KeyedHash::operator()(std::span<const std::byte> bytes) const {
  const XXH128_hash_t hash =
      XXH3_128bits_withSecret(bytes.data(), bytes.size(), secret_.data(), secret_.size());
  return {hash.low64, hash.high64};
}

}  // namespace ckpt::format
