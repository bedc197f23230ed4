// StreamReader: the records in the frames of an image file.
//
// A record that lies within one frame is a view into that frame; one that spans frames is put
// together as its bytes arrive. TAIL is given out only after the whole file was checked to its end.
#include "format/frame_reader.h"
#include "format/frames.h"
#include "format/stream.h"

namespace ckpt::format {

struct StreamReader::Impl {
  Impl(ByteSource& in, unsigned threads) : frames(in, threads) {}

  Result<RecordView> next();
  Result<RecordView> next_spanning();
  Result<RecordView> finish(const RecordView& view);
  Result<RecordView> fail(Error e);
  Error bad_record(std::uint32_t type, const std::string& why) const;
  Result<bool> next_frame();
  Result<std::size_t> gather(std::span<std::byte> out);
  Result<RecordView> stream_ends();
  Status check_end();
  [[nodiscard]] std::uint64_t stream_offset() const {
    return frame_begin + static_cast<std::uint64_t>(at - content.data());
  }

  FrameReader frames;
  std::span<const std::byte> content;  // of the present frame
  const std::byte* at = nullptr;       // in content
  std::uint64_t frame_begin = 0;       // stream offset of content
  std::uint64_t frame_file_offset = 0;
  std::uint64_t record_file_offset = 0;  // of the frame where the present record begins
  std::uint64_t record_offset = 0;       // of the present record in the stream
  std::uint64_t record_number = 0;       // of the present record
  std::uint64_t number = 0;              // records begun so far
  std::vector<std::byte> assembled;
  std::optional<Error> failed;
  bool ended = false;
};

StreamReader::StreamReader(ByteSource& in, unsigned threads)
    : impl_(std::make_unique<Impl>(in, threads)) {}
StreamReader::~StreamReader() = default;

Result<RecordView> StreamReader::next() {
  return impl_->next();
}
std::uint64_t StreamReader::file_offset() const {
  return impl_->record_file_offset;
}

Result<RecordView> StreamReader::Impl::next() {
  const auto left = static_cast<std::size_t>(content.data() + content.size() - at);
  if (left < sizeof(RecordHead) || failed || ended) return next_spanning();
  RecordHead head;
  std::memcpy(&head, at, sizeof head);
  if (head.len < sizeof head || head.len > left) return next_spanning();
  const RecordView view{
      head.type, {at + sizeof head, head.len - sizeof head}, number, stream_offset()};
  record_file_offset = frame_file_offset;
  record_offset = view.offset;
  record_number = number++;
  at += head.len;
  if (view.type >= static_cast<std::uint32_t>(RecordType::tail)) [[unlikely]]
    return finish(view);
  return view;
}

// Anything but a record that lies whole in the present frame.
Result<RecordView> StreamReader::Impl::next_spanning() {
  if (failed) return *failed;
  if (ended) return RecordView{0, {}, number, record_offset};
  record_offset = stream_offset();
  record_number = number;
  if (at == content.data() + content.size()) {
    CKPT_TRY(const bool more, next_frame());
    if (!more) return stream_ends();
  }
  record_file_offset = frame_file_offset;
  ++number;
  RecordHead head{};
  CKPT_TRY(const std::size_t n, gather(std::as_writable_bytes(std::span(&head, 1))));
  if (n < sizeof head) return fail(bad_record(head.type, "the stream ends within its head"));
  if (head.len < sizeof head)
    return fail(bad_record(head.type, "length " + std::to_string(head.len) + " is below 8"));
  if (head.len > kMaxRecordLen)
    return fail(bad_record(head.type, "length " + std::to_string(head.len) + " is above " +
                                          std::to_string(kMaxRecordLen)));
  const std::size_t payload = head.len - sizeof head;
  RecordView view{head.type, {}, record_number, record_offset};
  if (payload <= static_cast<std::size_t>(content.data() + content.size() - at)) {
    view.payload = {at, payload};
    at += payload;
    return finish(view);
  }
  assembled.clear();
  while (assembled.size() < payload) {
    const std::size_t have = assembled.size();
    assembled.resize(std::min<std::size_t>(payload, have + std::max<std::size_t>(have, 1 << 16)));
    CKPT_TRY(const std::size_t got, gather(std::span(assembled).subspan(have)));
    if (have + got < assembled.size())
      return fail(bad_record(head.type, "length " + std::to_string(head.len) + ", but only " +
                                            std::to_string(have + got) +
                                            " bytes of its payload are there"));
  }
  view.payload = assembled;
  return finish(view);
}

// Up to out.size() bytes of the record stream, fewer only at its end.
Result<std::size_t> StreamReader::Impl::gather(std::span<std::byte> out) {
  std::size_t got = 0;
  while (got < out.size()) {
    const auto left = static_cast<std::size_t>(content.data() + content.size() - at);
    if (left == 0) {
      CKPT_TRY(const bool more, next_frame());
      if (!more) break;
      continue;
    }
    const std::size_t n = std::min(left, out.size() - got);
    std::memcpy(out.data() + got, at, n);
    at += n;
    got += n;
  }
  return got;
}

// False at the end of the file.
Result<bool> StreamReader::Impl::next_frame() {
  const std::uint64_t stream_end = stream_offset();
  auto frame = frames.next();
  if (frame.has_error()) {
    Error e = frame.error();
    if (number > 0)
      e.detail += "; readable up to record " + std::to_string(record_number) + " at offset " +
                  std::to_string(record_offset);
    failed = e;
    return e;
  }
  if (*frame == nullptr) {
    frame_begin = stream_end;
    content = {};
    at = content.data();
    return false;
  }
  const Frame& f = **frame;
  content = f.content;
  at = content.data();
  frame_begin = f.stream_offset;
  frame_file_offset = f.file_offset;
  if (f.first_record != number) {
    failed = damaged("cannot read image",
                     "at file offset " + std::to_string(f.file_offset) + ": frame " +
                         std::to_string(f.number) + " says that " + std::to_string(f.first_record) +
                         " records begin before it, but there are " + std::to_string(number),
                     f.file_offset);
    return *failed;
  }
  return true;
}

// TAIL must be the last record of the last frame; ERROR tells why a dump failed.
Result<RecordView> StreamReader::Impl::finish(const RecordView& view) {
  if (view.type == static_cast<std::uint32_t>(RecordType::error)) {
    const std::string place = record_place(view.number, view.type, view.offset);
    auto text = next();
    if (text.has_error()) return text;
    return fail(dump_failed(place, *text, record_file_offset));
  }
  if (view.type != static_cast<std::uint32_t>(RecordType::tail)) return view;
  // The view must outlive the frame.
  const std::vector<std::byte> payload(view.payload.begin(), view.payload.end());
  if (at != content.data() + content.size()) return fail(bad_record(view.type, "data after TAIL"));
  CKPT_TRY(const bool more, next_frame());
  if (more) return fail(bad_record(view.type, "data after TAIL"));
  CKPT_CHECK(check_end());
  ended = true;
  assembled = payload;
  return RecordView{view.type, assembled, view.number, view.offset};
}

Status StreamReader::Impl::check_end() {
  if (frames.total_records() == number) return {};
  failed = damaged("cannot read image",
                   "the index counts " + std::to_string(frames.total_records()) +
                       " records, but there are " + std::to_string(number) +
                       " before file offset " + std::to_string(frames.position()),
                   frames.position());
  return *failed;
}

Result<RecordView> StreamReader::Impl::stream_ends() {
  return fail(damaged("cannot read image",
                      "the record stream ends at offset " + std::to_string(stream_offset()) +
                          " (file offset " + std::to_string(frames.position()) + ") after " +
                          std::to_string(number) + " records without TAIL",
                      frames.position()));
}

Result<RecordView> StreamReader::Impl::fail(Error e) {
  failed = std::move(e);
  return *failed;
}

Error StreamReader::Impl::bad_record(std::uint32_t type, const std::string& why) const {
  return damaged("cannot read image",
                 record_place(record_number, type, record_offset) + " (frame at file offset " +
                     std::to_string(record_file_offset) + "): " + why,
                 record_file_offset);
}

}  // namespace ckpt::format
