// inspect --records: the record stream as it is, one line a record; also of an image that is
// damaged, up to the point of damage.
#include <boost/json.hpp>
#include <cstring>

#include "cli/options.h"
#include "cli/views.h"
#include "format/describe.h"

namespace ckpt::cli {

namespace {

using format::RecordType;
using format::RecordView;

template <class T>
std::vector<T> entries(const RecordView& record) {
  std::vector<T> all(record.payload.size() / sizeof(T));
  std::memcpy(all.data(), record.payload.data(), all.size() * sizeof(T));
  return all;
}

// Knows from PIDS and TREE which TASK records are those of one process, and passes these and what
// follows each of them.
class ProcessFilter {
 public:
  explicit ProcessFilter(std::int32_t pid) : pid_(pid) {}

  // To be asked for every record in turn.
  bool passes(const RecordView& record) {
    const auto type = static_cast<RecordType>(record.type);
    if (type == RecordType::buffer && last_ == RecordType::pids) learn_pids(record);
    if (type == RecordType::buffer && last_ == RecordType::tree) learn_tree(record);
    if (type == RecordType::pids && record.payload.size() >= sizeof(format::Pids)) {
      format::Pids pids;
      std::memcpy(&pids, record.payload.data(), sizeof pids);
      first_ref_ = static_cast<std::int32_t>(pids.offset.value());
    }
    if (type == RecordType::task) ++task_;
    if (type == RecordType::tail || type == RecordType::socket_pair ||
        type == RecordType::file_lock || type == RecordType::pipe_buf ||
        type == RecordType::request || type == RecordType::trace)
      task_ = 0;
    last_ = type;
    return task_ > 0 && task_ <= wanted_.size() && wanted_[task_ - 1];
  }
  [[nodiscard]] bool found() const { return found_; }

 private:
  void learn_pids(const RecordView& record) {
    const auto words = entries<format::s32le>(record);
    std::int32_t ref = first_ref_;
    for (std::size_t i = 0; i + 1 < words.size(); ++ref) {
      if (words[i + 1] == pid_) refs_.push_back(ref);
      const std::int32_t depth = words[i];
      if (depth < 0) return;  // damaged: nothing more to learn
      i += static_cast<std::size_t>(depth) + 2;
    }
  }
  void learn_tree(const RecordView& record) {
    for (const format::TreeEntry& e : entries<format::TreeEntry>(record)) {
      bool wanted = false;
      for (const std::int32_t ref : refs_) wanted |= e.tgid == ref;
      wanted_.push_back(wanted);
      found_ |= wanted;
    }
  }

  std::int32_t pid_, first_ref_ = 1;
  std::vector<std::int32_t> refs_;
  std::vector<bool> wanted_;
  std::size_t task_ = 0;  // TASK records so far
  RecordType last_ = RecordType::tail;
  bool found_ = false;
};

}  // namespace

Status print_records(Console& console, const std::string& path, std::optional<std::int32_t> pid) {
  CKPT_TRY(const Input in, Input::open(path));
  Progress progress(console, "reading " + in.name(), "bytes", in.size());
  CountedSource bytes(in.fd(), progress);
  format::StreamReader reader(bytes);
  std::optional<ProcessFilter> filter;
  if (pid) filter.emplace(*pid);
  Status end;
  bool first = true;
  if (console.json) console.out << "{\n\"records\": [";
  for (;;) {
    const auto record = reader.next();
    if (record.has_error()) {
      end = in_image(record.error(), in.name());
      break;
    }
    if (record->type == 0) break;
    if (filter && !filter->passes(*record)) continue;
    if (console.json)
      console.out << (first ? "\n  " : ",\n  ")
                  << boost::json::serialize(format::record_json(*record));
    else
      console.out << format::print_record(*record) << "\n";
    first = false;
  }
  // Damaged: the object ends with "error", which Console::error() writes.
  if (console.json) console.out << (first ? "]" : "\n]") << (end.has_error() ? ",\n" : "\n}\n");
  if (end.has_error()) console.json_open = true;
  if (!end.has_error() && filter && !filter->found())
    return cannot("no such process in " + in.name(), "pid " + std::to_string(*pid),
                  "see ckpt inspect " + path);
  return end;
}

}  // namespace ckpt::cli
