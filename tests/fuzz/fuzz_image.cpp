// Fuzzes the image reader. The first byte of an input chooses what the rest is: 'f' an image file;
// 'r' a bare record stream, which reaches read_image()'s checks without checksums; 's' a record
// stream that is put into small frames first, so that records span them.
//
// Whatever the input: no crash, no large allocation, every error of kind damaged with an offset,
// and an image that was accepted prints and can be asked for everything it refers to.
#include <cstdint>

#include "format/describe.h"
#include "format/image.h"
#include "format/stream.h"
#include "tests/format/reframe.h"

using namespace ckpt;
using namespace ckpt::format;

namespace {

void check_error(const Error& e) {
  CKPT_ASSERT(e.kind == ErrorKind::damaged && e.offset.has_value());
  CKPT_ASSERT(e.message().find("offset ") != std::string::npos);
}

void check_image(const Image& image) {
  CKPT_ASSERT(image.tasks.size() == image.tree.size() && image.comms.size() == image.tree.size() &&
              image.objs.size() == image.tree.size());
  std::size_t sum = 0;
  for (std::size_t i = 0; i < image.tree.size(); ++i) {
    CKPT_ASSERT(image.pids.contains(image.tree[i].pid) && image.pids.contains(image.tree[i].tgid));
    const std::size_t pid = image.pids.index(image.tree[i].pid);
    CKPT_ASSERT(image.ns_of(pid) < image.namespaces.size());
    CKPT_ASSERT(image.pids.numbers(pid).size() == image.tree[i].depth + 1);
    sum += image.comm(i).size() + image.kin_of(i).subreaper;
  }
  CKPT_ASSERT(sum < image.tree.size() * 18);
}

// Read twice: as an image, and record by record for printing.
template <class MakeSource>
void read_both_ways(const MakeSource& make) {
  make([](RecordSource& source) {
    const auto image = read_image(source);
    if (image.has_value())
      check_image(*image);
    else
      check_error(image.error());
  });
  make([](RecordSource& source) {
    for (;;) {
      const auto record = source.next();
      if (record.has_error()) return check_error(record.error());
      if (record->type == 0) return;
      CKPT_ASSERT(!print_record(*record).empty());
      CKPT_ASSERT(!record_json(*record).empty());
    }
  });
}

void read_file(std::span<const std::byte> file) {
  read_both_ways([&](const auto& use) {
    MemorySource bytes(file);
    StreamReader reader(bytes, 1);
    use(reader);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto input = std::as_bytes(std::span(data, size)).subspan(1);
  if (data[0] == 'f') read_file(input);
  if (data[0] == 's') read_file(test::reframe(input, std::max<std::size_t>(16, size / 8)));
  if (data[0] == 'r')
    read_both_ways([&](const auto& use) {
      MemoryRecordSource records(input);
      use(records);
    });
  return 0;
}
