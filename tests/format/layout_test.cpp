// Damage to the record stream behind right checksums: every length, count, reference and order that
// the layout forbids is refused by name.
#include <catch2/catch.hpp>
#include <functional>

#include "format/image.h"
#include "tests/format/build_image.h"
#include "tests/format/reframe.h"

using namespace ckpt;
using namespace ckpt::format;
using namespace ckpt::format::test;

namespace {

using R = RecordType;

Result<Image> load_stream(const Bytes& stream) {
  const Bytes file = reframe(stream, 300);
  MemorySource source(file);
  StreamReader reader(source, 1);
  return read_image(reader);
}

// PID_NS_MAP where there is but one namespace.
void map_without_need(LooseRecords& r) {
  r.as<u32le>(R::buffer, 4, 8) = 0;  // the second pid's depth, then its inner number
  Bytes& entries = r.all[r.find(R::buffer, 4)].payload;
  entries.erase(entries.begin() + 16, entries.begin() + 20);
  r.as<Pids>(R::pids).nr_vpids = 0;
  r.as<TreeEntry>(R::buffer, 5, 24).depth = 0;
  r.erase(R::pid_ns, 1);
}

struct Damage {
  const char* expect;  // in the message
  std::function<void(LooseRecords&)> edit;
};

const Damage kDamages[] = {
    // HEADER
    {"(HEADER) at offset 0", [](auto& r) { r.template as<Header>(R::header).magic = 1; }},
    {"features", [](auto& r) { r.template as<Header>(R::header).features = 1 << 12; }},
    {"unknown source", [](auto& r) { r.template as<Header>(R::header).source = 3; }},
    {"unknown mode", [](auto& r) { r.template as<Header>(R::header).mode = 0; }},
    {"task_comm_len", [](auto& r) { r.template as<Header>(R::header).task_comm_len = 17; }},
    {"uts length", [](auto& r) { r.template as<Header>(R::header).uts_release_len = 64; }},
    {"length 88", [](auto& r) { r.all[0].payload.resize(80); }},
    {"HEADER was expected", [](auto& r) { r.erase(R::header); }},
    {"BUFFER was expected", [](auto& r) { r.erase(R::buffer, 3); }},
    {"length 72 is not 73", [](auto& r) { r.all[1].payload.resize(64); }},
    {"does not end in NUL", [](auto& r) { r.all[1].payload.assign(65, std::byte{'a'}); }},
    {"not padded", [](auto& r) { r.all[1].payload[40] = std::byte{'a'}; }},
    {"CONTAINER was expected", [](auto& r) { r.erase(R::container); }},
    {"length 16, but it should be 8", [](auto& r) { r.all[5].payload.resize(8); }},
    // PIDS
    {"PIDS was expected", [](auto& r) { r.erase(R::pids); }},
    {"nr_pids is 0", [](auto& r) { r.template as<Pids>(R::pids).nr_pids = 0; }},
    {"nr_pids 4294967295", [](auto& r) { r.template as<Pids>(R::pids).nr_pids = 0xffffffff; }},
    {"nr_pids 4194305 is above 4194304",
     [](auto& r) { r.template as<Pids>(R::pids).nr_pids = 4194305; }},
    {"nr_pids 4194304 and", [](auto& r) { r.template as<Pids>(R::pids).nr_pids = 4194304; }},
    {"nr_vpids 97 is above 32",
     [](auto& r) { r.template as<Pids>(R::pids).nr_vpids = 97; }},
    {"nr_vpids 96 need",
     [](auto& r) { r.template as<Pids>(R::pids).nr_vpids = 96; }},
    {"nr_pids 4 and", [](auto& r) { r.template as<Pids>(R::pids).nr_pids = 4; }},
    {"nr_vpids 2147483648", [](auto& r) { r.template as<Pids>(R::pids).nr_vpids = 1U << 31; }},
    {"offset 0 leaves", [](auto& r) { r.template as<Pids>(R::pids).offset = 0; }},
    {"offset 2147483646", [](auto& r) { r.template as<Pids>(R::pids).offset = 0x7ffffffe; }},
    {"beyond nr_vpids", [](auto& r) { r.template as<u32le>(R::buffer, 4, 8) = 2; }},
    {"not the sum",
     [](auto& r) {
       r.template as<Pids>(R::pids).nr_vpids = 2;
       r.all[r.find(R::buffer, 4)].payload.resize(32);
     }},
    {"beyond 32", [](auto& r) { r.template as<u32le>(R::buffer, 4, 0) = 33; }},
    {"number 0 at level 1", [](auto& r) { r.template as<s32le>(R::buffer, 4, 16) = 0; }},
    {"number -2 at level 0", [](auto& r) { r.template as<s32le>(R::buffer, 4, 4) = -2; }},
    // TREE
    {"TREE was expected", [](auto& r) { r.erase(R::tree); }},
    {"nr_tasks is 0", [](auto& r) { r.template as<Tree>(R::tree).nr_tasks = 0; }},
    {"above nr_pids", [](auto& r) { r.template as<Tree>(R::tree).nr_tasks = 4; }},
    {"needs 56", [](auto& r) { r.template as<Tree>(R::tree).nr_tasks = 2; }},
    {"BUFFER was expected", [](auto& r) { r.erase(R::buffer, 5); }},
    {"pid 0 is no pid object", [](auto& r) { r.template as<TreeEntry>(R::buffer, 5).pid = 0; }},
    {"tgid 4 is no pid object", [](auto& r) { r.template as<TreeEntry>(R::buffer, 5).tgid = 4; }},
    {"ppid -1 is", [](auto& r) { r.template as<TreeEntry>(R::buffer, 5).ppid = -1; }},
    {"pgid 9 is", [](auto& r) { r.template as<TreeEntry>(R::buffer, 5).pgid = 9; }},
    {"sid -4098 is", [](auto& r) { r.template as<TreeEntry>(R::buffer, 5).sid = -4098; }},
    {"tree entry 1: depth 0",
     [](auto& r) { r.template as<TreeEntry>(R::buffer, 5, 24).depth = 0; }},
    // PID_NS
    {"PID_NS was expected", [](auto& r) { r.erase(R::pid_ns), r.erase(R::pid_ns); }},
    {"must be the root", [](auto& r) { r.erase(R::pid_ns); }},
    {"must be the root", [](auto& r) { r.template as<PidNs>(R::pid_ns, 1).parent = 0; }},
    {"must be the root", [](auto& r) { r.template as<PidNs>(R::pid_ns).level = 1; }},
    {"parent 5 is no PID_NS", [](auto& r) { r.template as<PidNs>(R::pid_ns, 1).parent = 5; }},
    {"level 2 is not", [](auto& r) { r.template as<PidNs>(R::pid_ns, 1).level = 2; }},
    {"unknown state 4", [](auto& r) { r.template as<PidNs>(R::pid_ns, 1).state = 4; }},
    {"objref 4 is used twice", [](auto& r) { r.template as<PidNs>(R::pid_ns, 1).objref = 4; }},
    {"objref 3 is used twice", [](auto& r) { r.template as<PidNs>(R::pid_ns, 1).objref = 3; }},
    {"not positive", [](auto& r) { r.template as<PidNs>(R::pid_ns).objref = 0; }},
    {"PID_NS_MAP was expected", [](auto& r) { r.erase(R::pid_ns_map); }},
    {"not that of PIDS", [](auto& r) { r.template as<PidNsMap>(R::pid_ns_map).nr_pids = 2; }},
    {"does not hold 3", [](auto& r) { r.all[r.find(R::buffer, 6)].payload.resize(8); }},
    {"no namespace 2", [](auto& r) { r.template as<u32le>(R::buffer, 6) = 2; }},
    {"pid 0: the level", [](auto& r) { r.template as<u32le>(R::buffer, 6) = 1; }},
    {"TASK was expected", map_without_need},
    // TASK
    {"TASK was expected", [](auto& r) { r.erase(R::task); }},
    {"unknown exit_state", [](auto& r) { r.template as<Task>(R::task).exit_state = 16; }},
    {"unknown state 9", [](auto& r) { r.template as<Task>(R::task).state = 9; }},
    {"OBJREF", [](auto& r) { r.template as<Task>(R::task).exit_state = 32; }},
    {"TASK_OBJS was expected", [](auto& r) { r.template as<Task>(R::task, 2).exit_state = 0; }},
    {"STRING was expected", [](auto& r) { r.erase(R::string); }},
    {"only NUL", [](auto& r) { r.all[r.find(R::string)].payload.clear(); }},
    {"only NUL", [](auto& r) { r.template as<char>(R::string, 0, 1) = 0; }},
    {"only NUL", [](auto& r) { r.template as<char>(R::string, 0, 4) = 'x'; }},
    {"more than 16",
     [](auto& r) {
       auto& p = r.all[r.find(R::string)].payload;
       p.assign(17, std::byte{'a'});
       p.back() = {};
     }},
    {"child_ns 6 is no", [](auto& r) { r.template as<TaskKin>(R::task_kin).child_ns = 6; }},
    {"subreaper 3", [](auto& r) { r.template as<TaskKin>(R::task_kin).subreaper = 3; }},
    {"exiting 2", [](auto& r) { r.template as<TaskKin>(R::task_kin).exiting = 2; }},
    // Objects
    {"unknown object type 99", [](auto& r) { r.template as<Objref>(R::objref).objtype = 99; }},
    {"only in a file table", [](auto& r) { r.template as<Objref>(R::objref).objtype = 3; }},
    {"FS was expected", [](auto& r) { r.template as<Objref>(R::objref).objtype = 5; }},
    {"only a file may", [](auto& r) { r.template as<Objref>(R::objref, 1).objtype = 5; }},
    {"objref 6 is used twice", [](auto& r) { r.template as<Objref>(R::objref, 1).objref = 6; }},
    {"objref 2 is used twice", [](auto& r) { r.template as<Objref>(R::objref, 1).objref = 2; }},
    {"objref -7 is not", [](auto& r) { r.template as<Objref>(R::objref, 1).objref = -7; }},
    {"FILE_TABLE was expected", [](auto& r) { r.erase(R::file_table); }},
    {"fdt_nfds is negative",
     [](auto& r) { r.template as<FileTable>(R::file_table).fdt_nfds = -1; }},
    {"only a file may be announced",
     [](auto& r) { r.template as<FileTable>(R::file_table).fdt_nfds = 0x7fffffff; }},
    {"FILE_DESC was expected",
     [](auto& r) { r.template as<FileTable>(R::file_table, 1).fdt_nfds = 0x7fffffff; }},
    {"only in a file table",
     [](auto& r) { r.template as<FileTable>(R::file_table, 1).fdt_nfds = 0; }},
    {"FILE was expected", [](auto& r) { r.erase(R::file); }},
    {"FILE_NAME was expected", [](auto& r) { r.erase(R::file_name); }},
    {"fd_objref 7 is no file", [](auto& r) { r.template as<Objref>(R::objref, 1).objref = 99; }},
    {"fd_objref 6 is no file", [](auto& r) { r.template as<FileDesc>(R::file_desc).fd_objref = 6; }},
    {"3 is not above 3", [](auto& r) { r.template as<FileDesc>(R::file_desc).fd_descriptor = 3; }},
    {"-1 is not above -1",
     [](auto& r) { r.template as<FileDesc>(R::file_desc).fd_descriptor = -1; }},
    {"neither 0 nor 1",
     [](auto& r) { r.template as<FileDesc>(R::file_desc).fd_close_on_exec = 2; }},
    {"neither 0 nor 1", [](auto& r) { r.template as<FileDesc>(R::file_desc).fd_pending = 2; }},
    {"unknown f_type 6", [](auto& r) { r.template as<File>(R::file).f_type = 6; }},
    {"f_credref 1", [](auto& r) { r.template as<File>(R::file).f_credref = 1; }},
    {"deleted is", [](auto& r) { r.template as<File>(R::file).deleted = 2; }},
    {"objref 6 is used twice", [](auto& r) { r.template as<File>(R::file).pipe_objref = 6; }},
    {"objref -8 is not", [](auto& r) { r.template as<File>(R::file).pipe_objref = -8; }},
    {"umask is above", [](auto& r) { r.template as<Fs>(R::fs).umask = 01000; }},
    {"umask_known", [](auto& r) { r.template as<Fs>(R::fs).umask_known = 2; }},
    {"STRING was expected", [](auto& r) { r.erase(R::string, 2); }},
    {"TASK_OBJS was expected", [](auto& r) { r.erase(R::task_objs); }},
    {"files_objref 10", [](auto& r) { r.template as<TaskObjs>(R::task_objs).files_objref = 10; }},
    {"fs_objref 6", [](auto& r) { r.template as<TaskObjs>(R::task_objs).fs_objref = 6; }},
    {"mm_objref", [](auto& r) { r.template as<TaskObjs>(R::task_objs).mm_objref = 6; }},
    {"a text of 65537 bytes, more than 65536",
     [](auto& r) {
       auto& p = r.all[r.find(R::file_name)].payload;
       p.assign(65537, std::byte{'a'});
       p.back() = {};
     }},
    {"features: nested pid namespaces; but the image uses: nested pid namespaces, files, "
     "locks, contents of pipes",
     [](auto& r) { r.template as<Header>(R::header).features = kFeatureNestedNs; }},
    {"features: files; but the image uses: nested pid namespaces, files, "
     "locks, contents of pipes",
     [](auto& r) { r.template as<Header>(R::header).features = kFeatureFiles; }},
    // Locks and pipes
    {"unknown kind 4", [](auto& r) { r.template as<FileLock>(R::file_lock).kind = 4; }},
    {"exclusive is", [](auto& r) { r.template as<FileLock>(R::file_lock).exclusive = 2; }},
    {"20 to 19", [](auto& r) { r.template as<FileLock>(R::file_lock).start = 20; }},
    {"is none of a file", [](auto& r) { r.template as<FileLock>(R::file_lock).end = kLockEnd + 1; }},
    {"not on the whole file", [](auto& r) { r.template as<FileLock>(R::file_lock).kind = 3; }},
    {"file_objref 8 is no file",
     [](auto& r) { r.template as<FileLock>(R::file_lock).file_objref = 8; }},
    {"table_objref 9", [](auto& r) { r.template as<FileLock>(R::file_lock).table_objref = 9; }},
    {"table_objref 6", [](auto& r) { r.template as<FileLock>(R::file_lock).kind = 2; }},
    {"pipe_objref 9 is no pipe",
     [](auto& r) { r.template as<PipeBuf>(R::pipe_buf).pipe_objref = 9; }},
    {"unknown flags 3", [](auto& r) { r.template as<PipeBuf>(R::pipe_buf).flags = 3; }},
    {"does not go with the flags",
     [](auto& r) { r.template as<PipeBuf>(R::pipe_buf).length = 0; }},
    {"but the piece has 3", [](auto& r) { r.template as<PipeBuf>(R::pipe_buf).length = 3; }},
    {"a second piece", [](auto& r) { r.template as<PipeBuf>(R::pipe_buf, 1).flags = 0; }},
    {"more than 1 TiB", [](auto& r) { r.template as<PipeBuf>(R::pipe_buf, 1).length = ~0ULL; }},
    // Requests and the trace
    {"unknown kind 6", [](auto& r) { r.template as<Request>(R::request).kind = 6; }},
    {"process 4 is no pid", [](auto& r) { r.template as<Request>(R::request).process = 4; }},
    {"lwp 0 is no pid", [](auto& r) { r.template as<Request>(R::request).lwp = 0; }},
    {"lwp 1 waits twice",
     [](auto& r) {
       const auto at = r.find(R::request);
       r.insert(at, R::request, r.all[at].payload);
     }},
    {"file_objref 8 is no file", [](auto& r) { r.template as<Request>(R::request).file_objref = 8; }},
    {"unknown who 1", [](auto& r) { r.template as<Request>(R::request).who = kWaitPid; }},
    {"target 2 is no pid to wait for",
     [](auto& r) { r.template as<Request>(R::request).target = 2; }},
    {"fd -1 does not go", [](auto& r) { r.template as<Request>(R::request).fd = -1; }},
    {"fd 0 does not go", [](auto& r) { r.template as<Request>(R::request).kind = kRequestWait; }},
    {"offset 0 does not go", [](auto& r) { r.template as<Request>(R::request).offset = 0; }},
    {"; but the image uses: ", [](auto& r) { r.erase(R::request); }},
    {"no lines of a trace", [](auto& r) { r.all[r.find(R::trace)].payload.pop_back(); }},
    {"no lines of a trace", [](auto& r) { r.all[r.find(R::trace)].payload.clear(); }},
    // The stream
    {"without TAIL", [](auto& r) { r.erase(R::tail); }},
    {"magic number of TAIL", [](auto& r) { r.template as<Tail>(R::tail).magic = 1; }},
    {"data after TAIL", [](auto& r) { r.insert(r.all.size(), R::tail, r.all.back().payload); }},
    {"type 2004 is unknown", [](auto& r) { r.insert(7, 2004U, {}); }},
    {"type 2047 is unknown", [](auto& r) { r.insert(7, 2047U, {}); }},
    {"type 4096 is unknown", [](auto& r) { r.insert(7, 4096U, {}); }},
    {"the dump that wrote this image failed: no room; record 7 (ERROR)",
     [](auto& r) {
       r.insert(7, R::error, {});
       r.insert(8, R::string, Bytes(8));
       const char why[] = "no room";
       std::memcpy(r.all[8].payload.data(), why, sizeof why);
     }},
};

}  // namespace

TEST_CASE("Every forbidden layout is refused by name", "[format]") {
  const Bytes good = records_of(small_image);
  REQUIRE(load_stream(good).has_value());
  int line = 0;
  for (const Damage& damage : kDamages) {
    LooseRecords records(good);
    damage.edit(records);
    const auto image = load_stream(records.stream());
    CAPTURE(line++, damage.expect);
    REQUIRE(image.has_error());
    const Error& e = image.error();
    CHECK(e.kind == ErrorKind::damaged);
    CHECK(e.offset.has_value());
    CHECK_THAT(e.message(), Catch::Contains(damage.expect));
    CHECK_THAT(e.message(), Catch::Contains("offset "));
  }
}

TEST_CASE("A false length of any record is refused", "[format]") {
  const LooseRecords good(records_of(small_image));
  for (std::size_t i = 0; i < good.all.size(); ++i) {
    const auto right = static_cast<std::uint32_t>(good.all[i].payload.size() + 8);
    for (const std::uint32_t len : {0U, 1U, 7U, right - 1, right + 1, right + 8, right - 8,
                                    right + 1000000, 0x7fffffffU, 0xffffffffU}) {
      LooseRecords records = good;
      records.all[i].len = len;
      CAPTURE(i, len);
      for (const bool framed : {true, false}) {
        const Bytes stream = records.stream();
        MemoryRecordSource source(stream);
        const auto image = framed ? load_stream(stream) : read_image(source);
        REQUIRE(image.has_error());
        CHECK(image.error().kind == ErrorKind::damaged);
        if (len < 8)
          CHECK_THAT(image.error().message(),
                     Catch::Contains("record " + std::to_string(i) + " (" +
                                     record_name(good.all[i].type) + ")") &&
                         Catch::Contains("length " + std::to_string(len) + " is below 8"));
      }
    }
  }
}

TEST_CASE("A record lost, doubled or out of order is refused", "[format]") {
  const LooseRecords good(records_of(small_image));
  for (std::size_t i = 0; i < good.all.size(); ++i) {
    CAPTURE(i);
    LooseRecords lost = good, twice = good, swapped = good;
    lost.all.erase(lost.all.begin() + static_cast<std::ptrdiff_t>(i));
    twice.insert(i, good.all[i].type, good.all[i].payload);
    // TASK_KIN may be absent: then the values are 0. So may the last piece in a pipe, and a trace.
    const auto type = static_cast<RecordType>(good.all[i].type);
    const bool last_piece = type == RecordType::pipe_buf &&
                            good.all[i + 1].type == static_cast<std::uint32_t>(RecordType::trace);
    const bool is_trace = type == RecordType::trace;
    if (type != RecordType::task_kin && !last_piece && !is_trace)
      CHECK(load_stream(lost.stream()).has_error());
    if (!is_trace) CHECK(load_stream(twice.stream()).has_error());
    if (i == 0 || good.all[i].type == good.all[i - 1].type) continue;
    swapped.swap(i, i - 1);
    CHECK(load_stream(swapped.stream()).has_error());
  }
}

TEST_CASE("A truncated record stream behind right checksums is refused at every byte", "[format]") {
  const Bytes good = records_of(small_image);
  for (std::size_t n = 0; n < good.size(); ++n) {
    const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n));
    MemoryRecordSource source(cut);
    for (const auto& image : {load_stream(cut), read_image(source)}) {
      REQUIRE(image.has_error());
      CHECK(image.error().kind == ErrorKind::damaged);
      CHECK(image.error().offset.has_value());
    }
  }
}

TEST_CASE("A flipped bit behind right checksums gives an error or an image, never more",
          "[format]") {
  Bytes stream = records_of(small_image);
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < stream.size() * 8; ++bit) {
    stream[bit / 8] ^= std::byte{1} << (bit % 8);
    MemoryRecordSource source(stream);
    const auto image = read_image(source);
    stream[bit / 8] ^= std::byte{1} << (bit % 8);
    if (image.has_value()) continue;
    ++refused;
    if (image.error().kind != ErrorKind::damaged) FAIL("bit " << bit);
  }
  CHECK(refused > stream.size() * 2);
}

TEST_CASE("Records that may be skipped are skipped anywhere before TAIL", "[format]") {
  const LooseRecords good(records_of(small_image));
  for (std::size_t i = 0; i < good.all.size(); ++i) {
    LooseRecords more = good;
    more.insert(i, 3000U + static_cast<std::uint32_t>(i), Bytes(i));
    CAPTURE(i);
    CHECK(load_stream(more.stream()).has_value());
  }
}

TEST_CASE("Only a newer minor version may have longer records", "[format]") {
  LooseRecords records(records_of(small_image));
  records.all[records.find(RecordType::task_kin)].payload.resize(sizeof(TaskKin) + 8);
  CHECK(load_stream(records.stream()).error().message().find("length 32, but it should be 24") !=
        std::string::npos);
  records.as<Header>(RecordType::header).format_minor = kFormatMinor + 1;
  records.all[0].payload.resize(sizeof(Header) + 16);
  const auto image = load_stream(records.stream());
  REQUIRE(image.has_value());
  CHECK(image->kin_of(0).child_ns == 5);
}

TEST_CASE("Objrefs need not be dense", "[format]") {
  LooseRecords records(records_of(small_image));
  records.as<Objref>(RecordType::objref, 0).objref = 0x7fffffff;
  records.as<TaskObjs>(RecordType::task_objs, 0).files_objref = 0x7fffffff;
  records.as<FileLock>(RecordType::file_lock).table_objref = 0x7fffffff;
  const auto image = load_stream(records.stream());
  REQUIRE(image.has_value());
  CHECK(image->file_tables[0].ref == 0x7fffffff);
}
