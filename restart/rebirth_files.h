// The open files of an image, opened again in the supervisor: each open file description once,
// under a descriptor that no process of the image uses. Internal to rebirth.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/host/inject.h"
#include "format/image.h"

namespace ckpt::restart {

class PageStore;

// What the open files of an image hold.
struct ContentsIndex {
  explicit ContentsIndex(const format::Image& image);
  std::map<std::int32_t, std::uint32_t> sizes;  // by pipe_objref
  std::map<std::int32_t, std::vector<const format::ImagePipeBuf*>> pieces;
  std::map<std::int32_t, const format::ImageFileState*> states;  // by FILE
  std::map<std::int32_t, const format::ImageSocket*> sockets;
};

class OpenedFiles {
 public:
  // Descriptors from `base` on are used.
  explicit OpenedFiles(int base) : base_(base) {}
  OpenedFiles(OpenedFiles&&) noexcept = default;
  OpenedFiles& operator=(OpenedFiles&&) noexcept = default;
  ~OpenedFiles() { close_all(); }

  // All files of the image that a file table refers to; pipes with what waited in them, files
  // without a name with their contents.
  Status open_files(const format::Image& image, const PageStore& pages);
  // The descriptor of an open file description.
  [[nodiscard]] int file(std::int32_t objref) const { return files_.at(objref); }
  // Of a mapped file: checked to be the file that was mapped.
  Result<int> mapped(const format::ImageVma& vma);
  Result<int> executable(const format::ImageMm& mm);
  Result<int> directory(const std::string& path);
  // Shared anonymous memory with contents; `fill` gets it mapped.
  template <class Fill>
  Result<int> shared_memory(const format::ImageShm& shm, Fill fill);
  // By number, from 0; -1 for the mount namespace that the restorer has.
  Result<std::vector<int>> open_spaces(const format::Image& image);
  // A descriptor that a process may replace by one of its own.
  Result<int> reserve();
  // Takes a descriptor over, as one above the base.
  Result<int> adopt(int fd);
  // What could not become just as it was.
  [[nodiscard]] const std::vector<std::string>& notes() const { return notes_; }
  void note(std::string sentence) { notes_.push_back(std::move(sentence)); }
  void close_all();

 private:
  Result<int> hold(int fd, const std::string& what);
  void drop(int fd);
  Result<int> open_file(const ContentsIndex& index, const format::ImageFile& file);
  static Result<host::Descriptor> look_up(const format::ImageFile& file);
  Result<int> open_path(const format::ImageFile& file);
  Result<int> open_terminal(const format::ImageFile& file);
  Result<int> open_state(const ContentsIndex& index, const format::ImageFile& file);
  Result<int> open_fifo(const format::ImageFile& file);
  Status make_pipe(const ContentsIndex& index, const format::ImageFile& file);
  Result<int> open_pipe_end(const ContentsIndex& index, const format::ImageFile& file);
  // rebirth_unnamed.cpp
  Result<int> make_unnamed(const format::ImageInode& inode);
  static Status fill_unnamed(const format::ImageInode& inode, const PageStore& pages, int fd);
  Status make_unnamed_files(const format::Image& image, const PageStore& pages);
  Result<int> open_unnamed(const format::ImageFile& file);
  Status finish_unnamed_files(const format::Image& image);
  // rebirth_sockets.cpp
  Status make_sockets(const format::Image& image, const ContentsIndex& index);
  Status make_pair(const ContentsIndex& index, const format::ImageFile& one,
                   const format::ImageSocket& of_one, const format::ImageFile& other,
                   const format::ImageSocket& of_other);
  Status make_single(const ContentsIndex& index, const format::ImageFile& file,
                     const format::ImageSocket& of);
  Status connect_as(const format::ImageFile& file, const format::Socket& socket, int ends[2]);
  static Status fill_socket(const ContentsIndex& index, const format::ImageFile& file,
                            const format::ImageSocket& of, int from);
  static Status finish_socket(const format::ImageFile& file, const format::ImageSocket& of, int fd);
  Result<void*> map_shared(std::uint64_t size);
  Result<int> open_mapping(void* at, std::uint64_t size);

  int base_;
  std::vector<int> held_;
  std::map<std::int32_t, int> files_;                   // by objref
  std::map<std::int32_t, std::pair<int, int>> pipes_;   // by objref: ends
  std::map<std::pair<std::string, bool>, int> mapped_;  // by path and whether writable
  std::map<std::string, int> directories_;
  std::map<std::int32_t, std::pair<int, int>> unnamed_;  // by INODE: to read, to read and write
  std::map<std::int32_t, std::int32_t> inode_of_;        // by FILE
  std::vector<std::string> notes_;
};

template <class Fill>
Result<int> OpenedFiles::shared_memory(const format::ImageShm& shm, Fill fill) {
  CKPT_TRY(void* const at, map_shared(shm.size));
  CKPT_CHECK(fill(at));
  return open_mapping(at, shm.size);
}

}  // namespace ckpt::restart
