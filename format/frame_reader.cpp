#include "format/frame_reader.h"

namespace ckpt::format {
namespace {

constexpr std::size_t kMaxInFlight = 64U << 20;
constexpr std::size_t kReadPiece = 1U
                                   << 20;  // memory grows with what arrived, not what was claimed

Error bad_file(std::uint64_t offset, const std::string& why) {
  return damaged("cannot read image", "at file offset " + std::to_string(offset) + ": " + why,
                 offset);
}

std::string version(unsigned major, unsigned minor) {
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

struct FrameReader::FrameJob : Job {
  void run() override {
    if (checksum(compressed.data(), compressed.size()) != data_checksum)
      wrong = "the checksum of the compressed bytes does not match";
    else
      wrong = decompressor.decompress(compressed, {content.get(), size});
  }
  // Spare jobs keep their buffers only at the usual size of a frame.
  void forget_large() {
    if (capacity <= kReadPiece) return;
    content.reset();
    capacity = 0;
  }
  Decompressor decompressor;
  Frame frame;
  std::uint64_t data_checksum = 0;
  std::vector<std::byte> compressed;
  std::unique_ptr<std::byte[]> content;
  std::size_t size = 0, capacity = 0;
  const char* wrong = nullptr;
  bool submitted = false;
};

FrameReader::FrameReader(ByteSource& in, unsigned threads)
    : in_(in), threads_(WorkerPool::thread_count(threads)) {}
FrameReader::~FrameReader() = default;

Result<const Frame*> FrameReader::next() {
  const bool first = !current_ && frames_ == 0;
  if (current_) {
    in_flight_bytes_ -= current_->size;
    current_->forget_large();
    spare_.push_back(std::move(current_));
  }
  // The first frame comes alone: a small image starts no thread and waits for nothing.
  fill(first ? 1 : threads_ + 1);
  if (queue_.empty()) {
    if (failed_) return *failed_;
    return nullptr;
  }
  current_ = std::move(queue_.front());
  queue_.pop_front();
  FrameJob& job = *current_;
  if (job.submitted)
    pool_->wait(job);
  else
    job.run();
  if (job.wrong) {
    failed_ = bad_file(job.frame.file_offset + sizeof(FrameHead),
                       "frame " + std::to_string(job.frame.number) + ": " + job.wrong);
    // What was read ahead is of no use any more.
    pool_.reset();
    queue_.clear();
    ended_ = true;
    return *failed_;
  }
  job.frame.content = {job.content.get(), job.size};
  return &job.frame;
}

void FrameReader::fill(std::size_t limit) {
  while (!ended_ && !failed_ && queue_.size() < limit &&
         (queue_.empty() || in_flight_bytes_ < kMaxInFlight)) {
    if (Status s = read_item(); s.has_error()) failed_ = s.error();
  }
  if (!pool_ && threads_ > 1 && queue_.size() > 1) {
    pool_ = std::make_unique<WorkerPool>(threads_);
    for (const auto& job : queue_) submit(*job);
  }
}

void FrameReader::submit(FrameJob& job) {
  job.submitted = true;
  pool_->submit(job);
}

Result<std::size_t> FrameReader::read_some(std::span<std::byte> out) {
  std::size_t got = 0;
  while (got < out.size()) {
    CKPT_TRY(const std::size_t n, in_.read(out.subspan(got)));
    if (n == 0) break;
    got += n;
    position_ += n;
  }
  return got;
}

Status FrameReader::read_exactly(std::span<std::byte> out, const std::string& part) {
  CKPT_TRY(const std::size_t n, read_some(out));
  if (n < out.size()) return bad_file(position_, "the file ends within " + part);
  return {};
}

// One frame, or the index and the end.
Status FrameReader::read_item() {
  if (position_ == 0) CKPT_CHECK(read_file_head());
  const std::uint64_t start = position_;
  FrameHead head{};
  const auto bytes = std::as_writable_bytes(std::span(&head, 1));
  const std::string part = "the head of frame " + std::to_string(frames_);
  CKPT_TRY(const std::size_t n, read_some(bytes.first(8)));
  if (n == 0) return bad_file(start, "the file ends without an index");
  if (n < 8) return bad_file(position_, "the file ends within " + part);
  if (head.magic == kMagicIndex) return read_index(bytes.first(8));
  if (head.magic != kMagicFrameHead || head.size != sizeof head - 8)
    return bad_file(start, "neither a frame's head nor the index stands here");
  CKPT_CHECK(read_exactly(bytes.subspan(8), part));
  if (part_checksum(head) != head.checksum)
    return bad_file(start, "the checksum of " + part + " does not match");
  if (head.content == 0 || head.content > kMaxFrameContent || head.compressed == 0 ||
      head.compressed > compressed_bound(head.content))
    return bad_file(start, part + " gives impossible sizes");
  if (head.stream_offset != stream_size_ || head.first_record < last_record_)
    return bad_file(start, part + " does not follow on the frame before it");
  return read_frame(head);
}

Status FrameReader::read_file_head() {
  FileHead head{};
  const auto bytes = std::as_writable_bytes(std::span(&head, 1));
  CKPT_TRY(const std::size_t n, read_some(bytes));
  const auto no_image = [](const std::string& why) {
    Error e = bad_file(0, why);
    e.hint = "ckpt dump makes an image";
    return e;
  };
  if (n == 0) return no_image("the file is empty");
  const FileHead ours = make_file_head();
  const std::size_t fixed = offsetof(FileHead, format_major);
  if (std::memcmp(&head, &ours, std::min(n, fixed)) != 0)
    return no_image(n >= 4 && head.magic == kMagicZstd
                        ? "a zstd file, but not a ckpt image: it has no file head"
                        : "not a ckpt image");
  if (n < sizeof head) return bad_file(position_, "the file ends within the file head");
  if (part_checksum(head) != head.checksum)
    return bad_file(0, "the checksum of the file head does not match");
  if (head.format_major != kFormatMajor) {
    Error e = bad_file(0, "the image has format version " +
                              version(head.format_major, head.format_minor) +
                              ", but this ckpt reads only version " + std::to_string(kFormatMajor) +
                              ".x (it writes " + version(kFormatMajor, kFormatMinor) + ")");
    e.hint = "use the ckpt that wrote the image, or a newer one";
    return e;
  }
  return {};
}

Status FrameReader::read_frame(const FrameHead& head) {
  std::unique_ptr<FrameJob> job = take_job(head.content);
  job->frame = {frames_, position_ - sizeof head, head.stream_offset, head.first_record, {}};
  job->data_checksum = head.data_checksum;
  job->compressed.clear();
  while (job->compressed.size() < head.compressed) {
    const std::size_t have = job->compressed.size();
    job->compressed.resize(std::min<std::size_t>(head.compressed, have + kReadPiece));
    CKPT_CHECK(
        read_exactly(std::span(job->compressed).subspan(have), "frame " + std::to_string(frames_)));
  }
  const IndexEntry entry = index_entry(head, job->frame.file_offset);
  index_.add(&entry, sizeof entry);
  ++frames_;
  stream_size_ += head.content;
  last_record_ = head.first_record;
  in_flight_bytes_ += head.content;
  if (pool_) submit(*job);
  queue_.push_back(std::move(job));
  return {};
}

std::unique_ptr<FrameReader::FrameJob> FrameReader::take_job(std::size_t content) {
  std::unique_ptr<FrameJob> job;
  if (spare_.empty()) {
    job = std::make_unique<FrameJob>();
  } else {
    job = std::move(spare_.back());
    spare_.pop_back();
  }
  if (job->capacity < content) {
    job->content = std::make_unique_for_overwrite<std::byte[]>(content);
    job->capacity = content;
  }
  job->size = content;
  job->submitted = false;
  return job;
}

Status FrameReader::read_index(std::span<const std::byte> begun) {
  const std::uint64_t start = position_ - begun.size();
  const auto bad = [start](const char* why) { return bad_file(start, why); };
  IndexHead head{};
  std::memcpy(&head, begun.data(), begun.size());
  CKPT_CHECK(read_exactly(std::as_writable_bytes(std::span(&head, 1)).subspan(8), "the index"));
  const std::uint64_t entries = frames_ * sizeof(IndexEntry);
  if (head.frames != frames_ || head.size != sizeof head - 8 + entries + sizeof(IndexTail))
    return bad("the index counts other frames than there are");
  Checksum whole, seen;
  whole.add(&head, sizeof head);
  std::vector<std::byte> piece;
  for (std::uint64_t left = entries; left > 0; left -= piece.size()) {
    piece.resize(std::min<std::uint64_t>(left, kReadPiece));
    CKPT_CHECK(read_exactly(piece, "the index"));
    whole.add(piece.data(), piece.size());
    seen.add(piece.data(), piece.size());
  }
  IndexTail tail{};
  CKPT_CHECK(read_exactly(std::as_writable_bytes(std::span(&tail, 1)), "the index"));
  whole.add(&tail, sizeof tail - sizeof tail.checksum);
  if (whole.value() != tail.checksum) return bad("the checksum of the index does not match");
  if (seen.value() != index_.value() || tail.stream_size != stream_size_ ||
      tail.index_offset != start || tail.name != kIndexName || tail.records < last_record_)
    return bad("the index does not agree with the frames");
  total_records_ = tail.records;
  return read_end();
}

Status FrameReader::read_end() {
  std::byte more{};
  CKPT_TRY(const std::size_t n, read_some({&more, 1}));
  if (n != 0) return bad_file(position_ - 1, "data after the index");
  ended_ = true;
  return {};
}

}  // namespace ckpt::format
