// StreamWriter: gathers records into frames, compresses several frames at once, writes them in
// order.
//
// States: open (begin, append) -> closed. The calling thread alone touches the ByteSink. The first
// frame is compressed by the calling thread if it stays the only one; else workers do it. At most
// 8 * threads + 1 frames are in memory.
#include <deque>

#include "format/frames.h"
#include "format/stream.h"
#include "format/worker_pool.h"

namespace ckpt::format {
namespace {

constexpr std::size_t kFramesOfThread = 8;  // in flight

struct FrameJob : Job {
  explicit FrameJob(int level) : compressor(level) {}
  void run() override {
    compressed = compressor.compress(content);
    finish_frame_head(head, compressed);
  }
  Compressor compressor;
  FrameHead head{};
  std::vector<std::byte> content;
  std::span<const std::byte> compressed;
};

}  // namespace

struct StreamWriter::Impl {
  Impl(ByteSink& sink, const WriterOptions& o)
      : out(sink),
        options(o),
        threads(WorkerPool::thread_count(o.threads)),
        frame_size(std::clamp<std::size_t>(o.frame_size, 1, kMaxFrameContent)) {
    buffer.reserve(frame_size);
  }

  void put(const void* bytes, std::size_t n) {
    const auto* const p = static_cast<const std::byte*>(bytes);
    if (n <= frame_size - buffer.size())
      buffer.insert(buffer.end(), p, p + n);
    else
      put_over_frames({p, n});
  }
  void put_over_frames(std::span<const std::byte> bytes);
  void cut();
  std::unique_ptr<FrameJob> make_job();
  void write_front();
  void write_file_head();
  void write(std::span<const std::byte> bytes);

  ByteSink& out;
  WriterOptions options;
  unsigned threads;
  std::size_t frame_size;
  std::vector<std::byte> buffer;     // content of the frame being filled; never above frame_size
  std::uint64_t buffer_records = 0;  // begun before the buffer's first byte
  std::uint64_t stream_offset = 0;   // of the buffer's first byte
  std::uint64_t records = 0;         // begun so far
  std::uint64_t record_left = 0;     // payload bytes that the present record still lacks
  std::uint64_t file_offset = 0;
  std::vector<IndexEntry> index;
  std::optional<Error> failed;
  bool closed = false;
  std::deque<std::unique_ptr<FrameJob>> in_flight;
  std::vector<std::unique_ptr<FrameJob>> spare;
  std::unique_ptr<WorkerPool> pool;  // last: joins before the jobs go
};

void StreamWriter::Impl::put_over_frames(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (buffer.size() == frame_size) cut();
    const std::size_t n = std::min(bytes.size(), frame_size - buffer.size());
    buffer.insert(buffer.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
    bytes = bytes.subspan(n);
  }
}

// Makes a job of the buffer.
std::unique_ptr<FrameJob> StreamWriter::Impl::make_job() {
  std::unique_ptr<FrameJob> job;
  if (spare.empty()) {
    job = std::make_unique<FrameJob>(options.level);
  } else {
    job = std::move(spare.back());
    spare.pop_back();
  }
  job->head = FrameHead{};
  job->head.content = static_cast<std::uint32_t>(buffer.size());
  job->head.stream_offset = stream_offset;
  job->head.first_record = buffer_records;
  stream_offset += buffer.size();
  buffer_records = records;
  std::swap(job->content, buffer);
  buffer.clear();
  buffer.reserve(frame_size);
  return job;
}

// Ends the frame; there is more to come.
void StreamWriter::Impl::cut() {
  if (!pool) pool = std::make_unique<WorkerPool>(threads);
  in_flight.push_back(make_job());
  pool->submit(*in_flight.back());
  const std::size_t most = kFramesOfThread * std::size_t{threads};
  // To sleep and wake for each frame would take longer than the frame where others want the cores.
  if (in_flight.size() > most) pool->wait(*in_flight[most / 2]);
  while (!in_flight.empty() && (in_flight.size() > most || pool->done(*in_flight.front())))
    write_front();
}

void StreamWriter::Impl::write_front() {
  FrameJob& job = *in_flight.front();
  write_file_head();
  if (pool) pool->wait(job);
  index.push_back(index_entry(job.head, file_offset));
  write(std::as_bytes(std::span(&job.head, 1)));
  write(job.compressed);
  spare.push_back(std::move(in_flight.front()));
  in_flight.pop_front();
}

void StreamWriter::Impl::write_file_head() {
  if (file_offset != 0) return;
  const FileHead head = make_file_head();
  write(std::as_bytes(std::span(&head, 1)));
}

void StreamWriter::Impl::write(std::span<const std::byte> bytes) {
  if (failed) return;
  if (Status s = out.write(bytes); s.has_error())
    failed = s.error();
  else
    file_offset += bytes.size();
}

StreamWriter::StreamWriter(ByteSink& out, WriterOptions options)
    : impl_(std::make_unique<Impl>(out, options)) {}
StreamWriter::~StreamWriter() = default;

void StreamWriter::begin(RecordType type, std::uint64_t payload) {
  Impl& w = *impl_;
  CKPT_ASSERT(w.record_left == 0 && !w.closed);
  CKPT_ASSERT(payload <= kMaxRecordLen - sizeof(RecordHead));
  RecordHead head{};
  head.type = static_cast<std::uint32_t>(type);
  head.len = static_cast<std::uint32_t>(payload + sizeof head);
  // A record that fits into a frame is not split: readers then see it without a copy.
  const std::size_t room = w.frame_size - w.buffer.size();
  if (head.len > room && !w.buffer.empty() && (head.len <= w.frame_size || room == 0)) w.cut();
  if (w.buffer.empty()) w.buffer_records = w.records;
  ++w.records;
  w.put(&head, sizeof head);
  w.record_left = payload;
}

void StreamWriter::append(const void* bytes, std::size_t n) {
  CKPT_ASSERT(n <= impl_->record_left);
  impl_->record_left -= n;
  impl_->put(bytes, n);
}

Status StreamWriter::status() const {
  if (impl_->failed) return *impl_->failed;
  return {};
}

void StreamWriter::new_frame() {
  CKPT_ASSERT(impl_->record_left == 0);
  if (!impl_->buffer.empty()) impl_->cut();
}

Status StreamWriter::close() {
  Impl& w = *impl_;
  CKPT_ASSERT(w.record_left == 0 && !w.closed);
  w.closed = true;
  const std::uint64_t stream_size = stream_bytes();
  if (!w.buffer.empty()) {
    w.in_flight.push_back(w.make_job());
    if (w.pool)
      w.pool->submit(*w.in_flight.back());
    else
      w.in_flight.back()->run();
  }
  while (!w.in_flight.empty()) w.write_front();
  w.write_file_head();
  w.write(make_index(w.index, stream_size, w.records, w.file_offset));
  return status();
}

std::uint64_t StreamWriter::stream_bytes() const {
  return impl_->stream_offset + impl_->buffer.size();
}

}  // namespace ckpt::format
