// The integers of record layouts: little-endian on every machine, unaligned.
#pragma once

#include <boost/describe/class.hpp>
#include <boost/endian/arithmetic.hpp>
#include <cstdint>

namespace ckpt::format {

using u16le = boost::endian::little_uint16_at;
using u32le = boost::endian::little_uint32_at;
using s32le = boost::endian::little_int32_at;
using u64le = boost::endian::little_uint64_at;
using s64le = boost::endian::little_int64_at;

}  // namespace ckpt::format
