// open(2)'s flags in x86-64's numbers, which are what images and histories hold.
#pragma once

#include <cstdint>

namespace ckpt::sim {

enum OpenFlags : std::uint32_t {
  kOpenAccess = 03,
  kOpenWrite = 01,
  kOpenReadWrite = 02,
  kOpenCreate = 0100,
  kOpenExcl = 0200,
  kOpenNoCtty = 0400,
  kOpenTrunc = 01000,
  kOpenAppend = 02000,
  kOpenNonblock = 04000,
  kOpenAsync = 020000,
  kOpenDirect = 040000,
  kOpenLargeFile = 0100000,
  kOpenDirectory = 0200000,
  kOpenNoFollow = 0400000,
  kOpenNoAtime = 01000000,
  kOpenCloexec = 02000000,
  kOpenPath = 010000000,
  kOpenTmpfile = 020200000,  // O_DIRECTORY's bit included
};

}  // namespace ckpt::sim
