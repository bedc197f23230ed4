#include "cli/image_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "cli/options.h"
#include "restart/validate.h"

namespace ckpt::cli {

Result<Input> Input::open(const std::string& path) {
  Input in;
  if (path == "-") {
    if (is_terminal(STDIN_FILENO))
      return usage_error("nothing to read", "standard input is a terminal",
                         "give a file, or pipe one in");
    in.fd_ = STDIN_FILENO;
    in.name_ = "standard input";
  } else {
    in.fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY);
    const int err = errno;
    if (in.fd_ < 0)
      return cannot("cannot read " + path, std::strerror(err),
                    err == EACCES   ? "ask its owner, or be root"
                    : err == ENOENT ? "is the path right?"
                                    : "",
                    err);
    in.close_ = true;
    in.name_ = path;
  }
  struct stat st {};
  if (::fstat(in.fd_, &st) == 0) {
    if (S_ISDIR(st.st_mode))
      return cannot("cannot read " + in.name_, std::strerror(EISDIR), "give a file in it", EISDIR);
    if (S_ISREG(st.st_mode)) in.size_ = static_cast<std::uint64_t>(st.st_size);
  }
  return in;
}

Input::Input(Input&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      close_(std::exchange(other.close_, false)),
      size_(other.size_),
      name_(std::move(other.name_)) {}

Input::~Input() {
  if (close_) ::close(fd_);
}

Result<std::size_t> CountedSource::read(std::span<std::byte> bytes) {
  CKPT_TRY(const std::size_t n, source_.read(bytes));
  bytes_ += n;
  progress_.at(bytes_);
  return n;
}

Error in_image(Error error, const std::string& name) {
  error.detail = error.detail.empty() ? name : name + ": " + error.detail;
  return error;
}

Result<LoadedImage> load_image(const Console& console, const std::string& path,
                               format::PageSink* pages) {
  CKPT_TRY(const Input in, Input::open(path));
  Progress progress(console, "reading " + in.name(), "bytes", in.size());
  CountedSource bytes(in.fd(), progress);
  format::StreamReader reader(bytes);
  Result<format::Image> image = format::read_image(reader, pages);
  if (image.has_error()) return in_image(image.error(), in.name());
  if (const Status valid = restart::validate(*image); valid.has_error())
    return in_image(valid.error(), in.name());
  return LoadedImage{std::move(*image), in.name(), bytes.bytes()};
}

Result<std::unique_ptr<ImageOutput>> ImageOutput::open(const std::string& path, bool is_text) {
  std::unique_ptr<ImageOutput> out(new ImageOutput);
  const Error terminal = usage_error("an image is not for a terminal", path,
                                     "give a file with -o, or pipe it into a program");
  if (path == "-") {
    if (!is_text && is_terminal(STDOUT_FILENO)) return terminal;
    out->sink_ = std::make_unique<format::FdSink>(STDOUT_FILENO);
    out->name_ = "standard output";
    return out;
  }
  out->name_ = path;
  struct stat st {};
  const bool there = ::stat(path.c_str(), &st) == 0;
  if (there && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
    out->fd_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY);
    const int err = errno;
    if (out->fd_ < 0)
      return cannot("cannot write image", path + ": " + std::strerror(err), {}, err);
    if (!is_text && is_terminal(out->fd_)) return terminal;
    out->sink_ = std::make_unique<format::FdSink>(out->fd_);
    return out;
  }
  // A link to an image stays a link: the file it points to is replaced.
  std::string target = path;
  if (there) {
    if (char* real = ::realpath(path.c_str(), nullptr)) {
      target = real;
      std::free(real);
    }
  }
  CKPT_TRY(auto file, format::ImageFileSink::create(target));
  out->file_ = file.get();
  out->sink_ = std::move(file);
  return out;
}

ImageOutput::~ImageOutput() {
  if (fd_ >= 0) ::close(fd_);
}

Status ImageOutput::commit() {
  if (file_) return file_->commit();
  return {};
}

}  // namespace ckpt::cli
