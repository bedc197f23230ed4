// What processes are made of, typed: the part of an Image that stands for memory, registers,
// signals and credentials. Empty in an image without kFeatureMemory.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "format/record_io.h"

namespace ckpt::format {

struct ImageVma {
  Vma vma{};
  std::string path;
};

struct ImageMm {
  std::int32_t ref = 0;
  Mm mm{};
  std::string exe;
  std::vector<std::byte> auxv;
  std::vector<ImageVma> vmas;     // ascending, without overlap
  std::vector<GuardArea> guards;  // ascending, each within one of them
  std::uint64_t pages = 0;        // with contents in the image
  std::uint64_t digest = 0;       // of these contents and their addresses; 0: none

  // The guards within a mapping.
  [[nodiscard]] std::span<const GuardArea> guards_in(const Vma& vma) const {
    const auto first = std::partition_point(
        guards.begin(), guards.end(), [&](const GuardArea& g) { return g.start < vma.vm_start; });
    return {first, std::partition_point(first, guards.end(),
                                        [&](const GuardArea& g) { return g.start < vma.vm_end; })};
  }
};

struct ImageShm {
  std::int32_t ref = 0;
  std::uint64_t size = 0;  // bytes
  std::uint64_t pages = 0, digest = 0;
};

struct ImageSighand {
  std::int32_t ref = 0;
  std::vector<Sigaction> actions;  // for signal 1 and up
};

struct Siginfo {
  std::array<std::byte, kSiginfoSize> bytes;
  // The signal's number: siginfo_t's first field.
  [[nodiscard]] std::int32_t signo() const {
    s32le nr;
    std::memcpy(&nr, bytes.data(), sizeof nr);
    return nr;
  }
};

struct ImageSignal {
  std::int32_t ref = 0;
  Signal signal{};
  std::vector<Rlimit> rlimits;
  std::vector<Siginfo> pending;
  std::vector<PosixTimer> timers;
};

struct ImageCred {
  std::int32_t ref = 0;
  Cred cred{};
  std::vector<u32le> groups;
};

// Of one task; empty for a zombie.
struct ImageThread {
  Thread thread{};
  Cpu cpu{};
  std::vector<std::byte> xstate;
  SignalTask signal{};
  std::vector<Siginfo> pending;
  std::int32_t cred = 0;  // objref
  std::uint32_t io_priority = 0;
  std::vector<u64le> processors;  // as in PLACEMENT; empty: not bound
  [[nodiscard]] bool placed() const { return io_priority != 0 || !processors.empty(); }
};

struct ImageFileState {
  FileState state{};
  std::vector<EpollWatch> watches;
};

struct ImageSpace {
  Space space{};
  std::string nodename, domainname;
};

struct ImageInode {
  Inode inode{};
  std::string name;
  std::vector<s32le> files;  // objrefs
  std::uint64_t pages = 0, digest = 0;
};

struct ImageSocket {
  Socket socket{};
  std::vector<u32le> messages;  // bytes of each
  std::vector<SocketOption> options;
};

struct ProcessImage {
  Platform platform{};
  std::vector<std::byte> vdso;
  std::vector<ImageSpace> spaces;                             // number 1 is [0]
  std::unordered_map<std::uint32_t, TaskSpaces> task_spaces;  // by index in tree; others: all 0
  std::vector<ImageMm> mms;
  std::vector<ImageShm> shms;
  std::vector<ImageSighand> sighands;
  std::vector<ImageSignal> signals;
  std::vector<ImageCred> creds;
  std::vector<ImageThread> threads;  // by index in tree
  std::vector<PipeSize> pipes;
  std::vector<ImageFileState> file_states;
  std::vector<ImageSocket> sockets;
  std::vector<ImageInode> inodes;
  std::vector<FileOwner> owners;
};

// Takes page contents while an image is read: these do not stay in memory.
class PageSink {
 public:
  virtual ~PageSink() = default;
  // One array: `pages` is whole pages, `refs` says where each lies. Every reference has been
  // checked: it is to an MM, a shared memory or an INODE of the image, within it, and within
  // `pages`; or if these are empty, within all pages that came before.
  virtual Status pages(std::span<const std::byte> pages, std::span<const PageRef> refs) = 0;
};

}  // namespace ckpt::format
