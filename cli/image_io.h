// Images of the command line: opening them to read, with progress on a terminal, and writing them
// to a file or a pipe.
#pragma once

#include <memory>
#include <string>

#include "cli/output.h"
#include "cli/progress.h"
#include "format/image.h"
#include "format/stream.h"

namespace ckpt::cli {

// A file to be read, or standard input for "-"; closes what it opened.
class Input {
 public:
  // Errors: cannot (no such file, no permission, a directory), usage ("-" is a terminal).
  static Result<Input> open(const std::string& path);
  Input(Input&& other) noexcept;
  Input& operator=(Input&&) = delete;
  Input(const Input&) = delete;
  ~Input();

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }  // bytes; 0: unknown
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  Input() = default;
  int fd_ = -1;
  bool close_ = false;
  std::uint64_t size_ = 0;
  std::string name_;
};

// Bytes of an input, counted for the progress line.
class CountedSource : public format::ByteSource {
 public:
  CountedSource(int fd, Progress& progress) : source_(fd), progress_(progress) {}
  Result<std::size_t> read(std::span<std::byte> bytes) override;
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  format::FdSource source_;
  Progress& progress_;
  std::uint64_t bytes_ = 0;
};

struct LoadedImage {
  format::Image image;
  std::string name;         // for messages: the path, or "standard input"
  std::uint64_t bytes = 0;  // of the image as it was read
};

// Reads and validates. Errors name the image. Page contents go to `pages`, if that is given.
Result<LoadedImage> load_image(const Console& console, const std::string& path,
                               format::PageSink* pages = nullptr);

// Puts the name of the image at the front of the detail.
Error in_image(Error error, const std::string& name);

// Where an image goes: a new file (which appears by commit() alone), a pipe or device, or standard
// output for "-". Error usage if that is a terminal, which only text may be written to.
class ImageOutput {
 public:
  static Result<std::unique_ptr<ImageOutput>> open(const std::string& path, bool is_text = false);
  ~ImageOutput();
  [[nodiscard]] format::ByteSink& sink() { return *sink_; }
  // Is what was written there even if the dump fails? Then it must end in ERROR.
  [[nodiscard]] bool is_stream() const { return file_ == nullptr; }
  Status commit();
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  ImageOutput() = default;
  std::unique_ptr<format::ByteSink> sink_;
  format::ImageFileSink* file_ = nullptr;
  int fd_ = -1;
  std::string name_;
};

}  // namespace ckpt::cli
