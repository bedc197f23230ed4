// The bare record stream in memory.
#include "format/frames.h"
#include "format/stream.h"

namespace ckpt::format {

void MemoryRecords::begin(RecordType type, std::uint64_t payload) {
  CKPT_ASSERT(payload <= 0xffffffffU - sizeof(RecordHead));
  RecordHead head{};
  head.type = static_cast<std::uint32_t>(type);
  head.len = static_cast<std::uint32_t>(payload + sizeof head);
  append(&head, sizeof head);
}

void MemoryRecords::append(const void* data, std::size_t n) {
  const auto* const p = static_cast<const std::byte*>(data);
  bytes.insert(bytes.end(), p, p + n);
}

Result<RecordView> MemoryRecordSource::next() {
  const auto bad = [this](std::uint32_t type, const std::string& why) {
    return damaged("cannot read image", record_place(number_, type, at_) + ": " + why, at_);
  };
  at_ = next_;
  const std::size_t left = bytes_.size() - at_;
  if (left == 0) {
    if (tail_) return RecordView{0, {}, number_, at_};
    return damaged("cannot read image",
                   "the record stream ends at offset " + std::to_string(at_) + " after " +
                       std::to_string(number_) + " records without TAIL",
                   at_);
  }
  RecordHead head{};
  std::memcpy(&head, bytes_.data() + at_, std::min(left, sizeof head));
  if (tail_) return bad(head.type, "data after TAIL");
  if (left < sizeof head) return bad(head.type, "the stream ends within the head of the record");
  if (head.len < sizeof head)
    return bad(head.type, "length " + std::to_string(head.len) + " is below 8");
  if (head.len > left)
    return bad(head.type, "length " + std::to_string(head.len) + ", but only " +
                              std::to_string(left) + " bytes are left");
  tail_ = head.type == static_cast<std::uint32_t>(RecordType::tail);
  const RecordView view{head.type, bytes_.subspan(at_ + sizeof head, head.len - sizeof head),
                        number_++, at_};
  next_ = at_ + head.len;
  if (head.type == static_cast<std::uint32_t>(RecordType::error)) {
    const std::string place = record_place(view.number, view.type, view.offset);
    CKPT_TRY(const RecordView text, next());
    return dump_failed(place, text, at_);
  }
  return view;
}

}  // namespace ckpt::format
