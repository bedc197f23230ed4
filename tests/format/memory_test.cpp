// Memory, registers and what else processes are made of: a complete image comes back, its pages go
// to whoever asked for them, and every forbidden layout is refused by name.
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

void bytes(RecordSink& out, std::size_t n, int value = 0) {
  const Bytes content(n, static_cast<std::byte>(value));
  out.record(R::buffer, content.data(), n);
}

void vma(RecordSink& out, VmaType type, std::uint64_t start, std::uint64_t end,
         std::int32_t shm = 0) {
  Vma v{};
  v.vma_type = type;
  v.vm_start = start;
  v.vm_end = end;
  v.vm_page_prot = 3;
  v.ino_objref = shm;
  v.ino_size = shm ? 0x2000 : 0;
  out.record(R::vma, v);
  if (type == kVmaFile) out.text(R::file_name, "/bin/true");
}

PageRef ref(std::int32_t objref, std::uint64_t address, std::uint32_t first, std::uint32_t count) {
  PageRef r{};
  r.objref = objref;
  r.address = address;
  r.first = first;
  r.count = count;
  return r;
}

void process_objects(ImageBuilder& b, RecordSink& out) {
  b.objref(kObjMm, 5);
  Mm mm{};
  mm.map_count = 4;
  mm.vdso = 0x7fff0000;
  out.record(R::mm, mm);
  out.text(R::string, "/bin/true");
  bytes(out, 32);
  vma(out, kVmaFile, 0x1000, 0x3000);
  vma(out, kVmaAnon, 0x3000, 0x8000);
  vma(out, kVmaShmAnon, 0x9000, 0xb000, 6);
  vma(out, kVmaFile, 0xb000, 0xc000, 20);
  Guards guards{};
  guards.nr_areas = 2;
  out.record(R::guards, guards);
  const GuardArea areas[] = {{u64le(0x6000), u64le(0x7000)}, {u64le(0xb000), u64le(0xc000)}};
  out.record(R::buffer, areas, sizeof areas);

  b.objref(kObjSighand, 7);
  Sighand sighand{};
  sighand.nr_actions = kSignals;
  out.record(R::sighand, sighand);
  bytes(out, kSignals * sizeof(Sigaction));

  b.objref(kObjSignal, 8);
  Signal signal{};
  signal.nr_rlimits = kRlimits;
  signal.nr_timers = 1;
  out.record(R::signal, signal);
  bytes(out, kRlimits * sizeof(Rlimit));
  Sigpending none{};
  out.record(R::sigpending, none);
  bytes(out, 0);
  PosixTimer timer{};
  timer.signo = 14;
  out.record(R::posix_timer, timer);

  b.objref(kObjCred, 9);
  Cred cred{};
  cred.nr_groups = 2;
  out.record(R::cred, cred);
  bytes(out, 8);
}

void thread(RecordSink& out) {
  Thread t{};
  t.nice = -5;
  out.record(R::thread, t);
  Cpu cpu{};
  cpu.rip = 0x1234;
  out.record(R::cpu, cpu);
  bytes(out, kMinXstate);
  out.record(R::signal_task, SignalTask{});
  Sigpending one{};
  one.nr_pending = 1;
  out.record(R::sigpending, one);
  std::array<std::byte, kSiginfoSize> info{};
  info[0] = std::byte{10};
  out.record(R::buffer, info.data(), info.size());
  TaskCreds creds{};
  creds.cred_ref = creds.ecred_ref = 9;
  out.record(R::task_creds, creds);
}

void contents(RecordSink& out) {
  PipeSize pipe{};
  pipe.pipe_objref = 12;
  pipe.capacity = 65536;
  out.record(R::pipe_size, pipe);
  FileState state{};
  state.file_objref = 11;
  state.kind = kEpoll;
  state.nr_watches = 1;
  out.record(R::file_state, state);
  bytes(out, sizeof(EpollWatch));
  Socket socket{};
  socket.file_objref = 11;
  socket.type = kDatagram;
  socket.nr_messages = 1;
  socket.nr_options = 2;
  out.record(R::socket, socket);
  const u32le length = 10;
  out.record(R::buffer, &length, sizeof length);
  const SocketOption options[] = {{7, 0, 4096}, {42, 0, -1}};
  out.record(R::buffer, options, sizeof options);
  Inode inode{};
  inode.objref = 20;
  inode.kind = kInodeMemfd;
  inode.size = 0x1001;
  inode.nr_files = 1;
  out.record(R::inode, inode);
  out.text(R::file_name, "m");
  const s32le file = 11;
  out.record(R::buffer, &file, sizeof file);
  inode.objref = 21;
  inode.kind = kInodeDeleted;
  inode.nr_files = 0;
  out.record(R::inode, inode);
  out.text(R::file_name, "/gone");
  bytes(out, 0);
  FileOwner owner{};
  owner.file_objref = 11;
  owner.owner = 1;
  owner.signal = 64;
  out.record(R::file_owner, owner);
  out.new_frame();
  Pgarr pages{};
  pages.nr_pages = 2;
  pages.nr_refs = 5;
  out.record(R::pgarr, pages);
  const PageRef refs[] = {ref(5, 0x3000, 0, 2), ref(5, 0x2000, 1, 1), ref(5, 0x1000, kZeroPages, 1),
                          ref(6, 0x1000, 0, 1), ref(20, 0x1000, 1, 1)};
  out.record(R::buffer, refs, sizeof refs);
  out.begin(R::buffer, 2 * kPageSize);
  const Bytes a(kPageSize, std::byte{'a'}), b(kPageSize, std::byte{'b'});
  out.append(a.data(), a.size());
  out.append(b.data(), b.size());
  pages.nr_refs = 1;
  pages.nr_pages = 1;
  out.record(R::pgarr, pages);
  const PageRef c_at = ref(6, 0, 0, 1);
  out.record(R::buffer, &c_at, sizeof c_at);
  bytes(out, kPageSize, 'c');
  pages.nr_pages = 0;
  pages.nr_refs = 2;
  out.record(R::pgarr, pages);
  const PageRef repeats[] = {ref(5, 0x5000, kZeroPages, 3), ref(5, 0x3000, 1, 2)};
  out.record(R::buffer, repeats, sizeof repeats);
}

constexpr std::uint64_t kFeatures = kFeatureMemory | kFeatureFiles | kFeaturePipes |
                                    kFeatureInodes | kFeatureSpaces | kFeatureGuards |
                                    kFeaturePlacement | kFeatureSockets | kFeatureRepeats;

// A single process with one page of every kind, and a pipe.
void memory_image(RecordSink& out) {
  ImageBuilder b(out);
  b.head(kModeSubtree, kFeatures);
  b.pids({{100}});
  b.tree({ImageBuilder::entry(1, kRefInvisible, 1, 1, 1)});
  b.pid_ns(4, 0, 0);
  Platform platform{};
  platform.vvar_size = 4 * kPageSize;
  out.record(R::platform, platform);
  bytes(out, 2 * kPageSize);
  Space space{};
  space.kind = kSpaceMount;
  space.proc_ns = 4;
  const auto add_space = [&](const char* nodename) {
    out.record(R::space, space);
    out.text(R::string, nodename);
    out.text(R::string, "");
  };
  add_space("");
  space = {};
  space.kind = kSpaceUts;
  add_space("host");
  b.task("worker");
  b.file_table(10, 1);
  b.file(11, kFilePipe, "pipe:[1]", 0, 12);
  b.fd(11, 0);
  process_objects(b, out);
  thread(out);
  Placement placement{};
  placement.io_priority = 3 << 13;
  placement.nr_words = 2;
  out.record(R::placement, placement);
  const u64le words[] = {u64le(0), u64le(1)};
  out.record(R::buffer, words, sizeof words);
  TaskSpaces spaces{};
  spaces.mount = 1;
  spaces.uts = 2;
  out.record(R::task_spaces, spaces);
  TaskObjs objs{};
  objs.files_objref = 10;
  objs.mm_objref = 5;
  objs.sighand_objref = 7;
  objs.signal_objref = 8;
  out.record(R::task_objs, objs);
  PipeBuf pipe{};
  pipe.pipe_objref = 12;
  pipe.length = 10;
  out.record(R::pipe_buf, pipe);
  bytes(out, 10, 'x');
  contents(out);
  b.tail();
}

struct Collected : PageSink {
  Status pages(std::span<const std::byte> pages, std::span<const PageRef> refs) override {
    all.insert(all.end(), pages.begin(), pages.end());
    if (pages.empty()) pages = all;
    for (const PageRef& r : refs) {
      std::string text = std::to_string(r.objref) + ":";
      for (std::uint32_t i = 0; i < r.count; ++i)
        text += r.first == kZeroPages
                    ? '0'
                    : static_cast<char>(pages[(r.first + i) * kPageSize + kPageSize - 1]);
      got.push_back(text);
    }
    return {};
  }
  std::vector<std::string> got;
  Bytes all;
};

Result<Image> load(const Bytes& stream) {
  MemoryRecordSource source(stream);
  return read_image(source);
}

struct MemoryDamage {
  const char* expect;
  std::function<void(LooseRecords&)> edit;
};

template <class T>
T& at(LooseRecords& r, R type, unsigned n = 0) {
  return r.as<T>(type, n);
}
// The BUFFER that follows the n-th record of a type.
Bytes& after(LooseRecords& r, R type, unsigned n = 0) {
  return r.all[r.find(type, n) + 1].payload;
}
GuardArea& guard_area(LooseRecords& r, unsigned n) {
  return *reinterpret_cast<GuardArea*>(after(r, R::guards).data() + n * sizeof(GuardArea));
}

PageRef& page_ref(LooseRecords& r, unsigned n) {
  return *reinterpret_cast<PageRef*>(after(r, R::pgarr).data() + n * sizeof(PageRef));
}

// In the array that has no pages.
PageRef& repeat(LooseRecords& r) {
  return *reinterpret_cast<PageRef*>(after(r, R::pgarr, 2).data() + sizeof(PageRef));
}

const MemoryDamage kMemoryDamages[] = {
    {"PLATFORM was expected", [](auto& r) { r.erase(R::platform); }},
    {"vvar_size", [](auto& r) { at<Platform>(r, R::platform).vvar_size = 100; }},
    {"vvar_size", [](auto& r) { at<Platform>(r, R::platform).vvar_size = 1ULL << 40; }},
    {"no number of pages", [](auto& r) { after(r, R::platform).resize(100); }},
    {"does not announce memory",
     [](auto& r) {
       at<Header>(r, R::header).features = kFeatureFiles | kFeatureInodes;
       const auto at_platform = r.all.begin() + static_cast<std::ptrdiff_t>(r.find(R::platform));
       r.all.erase(at_platform, r.all.begin() + static_cast<std::ptrdiff_t>(r.find(R::task)));
     }},
    {"unknown kind 5", [](auto& r) { at<Space>(r, R::space).kind = 5; }},
    {"unknown kind 0", [](auto& r) { at<Space>(r, R::space).kind = 0; }},
    {"proc_ns 5 is no PID_NS", [](auto& r) { at<Space>(r, R::space).proc_ns = 5; }},
    {"proc_ns 4 is no PID_NS", [](auto& r) { at<Space>(r, R::space, 1).proc_ns = 4; }},
    {"nr_words is above 1024", [](auto& r) { at<Placement>(r, R::placement).nr_words = 1025; }},
    {"places nothing",
     [](auto& r) {
       at<Placement>(r, R::placement).nr_words = 0;
       at<Placement>(r, R::placement).io_priority = 0;
     }},
    {"bound to no processor", [](auto& r) { after(r, R::placement, 0) = Bytes(16, std::byte{0}); }},
    {"no SPACE 2 of kind 1", [](auto& r) { at<TaskSpaces>(r, R::task_spaces).mount = 2; }},
    {"no SPACE 3 of kind 4", [](auto& r) { at<TaskSpaces>(r, R::task_spaces).cgroup = 3; }},
    {"more than 64 bytes",
     [](auto& r) {
       after(r, R::space, 1) = Bytes(66, std::byte{'x'});
       after(r, R::space, 1).back() = std::byte{0};
     }},
    {"features",
     [](auto& r) { at<Header>(r, R::header).features &= ~std::uint64_t{kFeaturePipes}; }},
    {"map_count", [](auto& r) { at<Mm>(r, R::mm).map_count = 0xffffffff; }},
    {"VMA was expected", [](auto& r) { at<Mm>(r, R::mm).map_count = 5; }},
    {"nr_areas is 0", [](auto& r) { at<Guards>(r, R::guards).nr_areas = 0; }},
    {"nr_areas is 1048577", [](auto& r) { at<Guards>(r, R::guards).nr_areas = kMaxGuards + 1; }},
    {"guard pages from 0xb000 to 0x6000", [](auto& r) { guard_area(r, 1).end = 0x6000; }},
    {"guard pages from 0x5000 to 0xc000", [](auto& r) { guard_area(r, 1).start = 0x5000; }},
    {"lie in no mapping", [](auto& r) { guard_area(r, 0).start = 0x2000; }},
    {"lie in no mapping", [](auto& r) { guard_area(r, 1).end = 0xd000; }},
    {"unknown def_flags", [](auto& r) { at<Mm>(r, R::mm).def_flags = 0x4000; }},
    {"vdso is not at a page", [](auto& r) { at<Mm>(r, R::mm).vdso = 1; }},
    {"auxiliary vector", [](auto& r) { r.all[r.find(R::mm) + 2].payload.resize(31); }},
    {"0 to 4096", [](auto& r) { r.all[r.find(R::mm) + 2].payload.resize(5000); }},
    {"a mapping from 0x3000 to 0x3000", [](auto& r) { at<Vma>(r, R::vma).vm_start = 0x3000; }},
    {"a mapping from", [](auto& r) { at<Vma>(r, R::vma).vm_end = 0x2fff; }},
    {"not above the one before", [](auto& r) { at<Vma>(r, R::vma).vm_end = 0x4000; }},
    {"unknown protection 0x8", [](auto& r) { at<Vma>(r, R::vma).vm_page_prot = 8; }},
    {"unknown flags", [](auto& r) { at<Vma>(r, R::vma).vm_flags = 1; }},
    {"vm_pgoff", [](auto& r) { at<Vma>(r, R::vma).vm_pgoff = 12; }},
    {"unknown vma_type 7", [](auto& r) { at<Vma>(r, R::vma).vma_type = 7; }},
    {"objref 6 is used twice", [](auto& r) { at<Vma>(r, R::vma, 3).ino_objref = 6; }},
    {"of anonymous memory", [](auto& r) { at<Vma>(r, R::vma, 1).ino_objref = 20; }},
    {"has no INODE", [](auto& r) { at<Vma>(r, R::vma).ino_objref = 22; }},
    {"objref 11 is used twice", [](auto& r) { at<Inode>(r, R::inode, 1).objref = 11; }},
    {"objref 20 is used twice", [](auto& r) { at<Inode>(r, R::inode, 1).objref = 20; }},
    {"5 is no file", [](auto& r) { at<Socket>(r, R::socket).file_objref = 5; }},
    {"unknown type 3", [](auto& r) { at<Socket>(r, R::socket).type = 3; }},
    {"unknown peer 3", [](auto& r) { at<Socket>(r, R::socket).peer = 3; }},
    {"unknown shutdown 4", [](auto& r) { at<Socket>(r, R::socket).shutdown = 4; }},
    {"a pending error 1", [](auto& r) { at<Socket>(r, R::socket).error = 1; }},
    {"or of a stream", [](auto& r) { at<Socket>(r, R::socket).type = kStream; }},
    {"nr_messages is too large", [](auto& r) { at<Socket>(r, R::socket).nr_messages = ~0U; }},
    {"does not hold 2 entries", [](auto& r) { at<Socket>(r, R::socket).nr_messages = 2; }},
    {"nr_options is too large", [](auto& r) { at<Socket>(r, R::socket).nr_options = 21; }},
    {"does not hold 3 entries", [](auto& r) { at<Socket>(r, R::socket).nr_options = 3; }},
    {"option 4 is unknown",
     [](auto& r) { r.all[r.find(R::socket) + 2].payload[0] = std::byte{4}; }},
    {"option 42 is unknown or out of order",
     [](auto& r) { r.all[r.find(R::socket) + 2].payload[0] = std::byte{42}; }},
    {"unknown kind 3", [](auto& r) { at<Inode>(r, R::inode).kind = 3; }},
    {"a size of", [](auto& r) { at<Inode>(r, R::inode).size = ~0ULL; }},
    {"more than permissions", [](auto& r) { at<Inode>(r, R::inode).mode = 0100644; }},
    {"unknown seals", [](auto& r) { at<Inode>(r, R::inode).seals = 64; }},
    {"unknown seals", [](auto& r) { at<Inode>(r, R::inode, 1).seals = 1; }},
    {"does not hold 4294967295", [](auto& r) { at<Inode>(r, R::inode).nr_files = ~0U; }},
    {"objref 5 is no file", [](auto& r) { r.all[r.find(R::inode) + 2].payload[0] = std::byte{5}; }},
    {"5 is no file", [](auto& r) { at<FileOwner>(r, R::file_owner).file_objref = 5; }},
    {"unknown type 3", [](auto& r) { at<FileOwner>(r, R::file_owner).type = 3; }},
    {"11 is no pid object", [](auto& r) { at<FileOwner>(r, R::file_owner).owner = 11; }},
    {"a signal 65", [](auto& r) { at<FileOwner>(r, R::file_owner).signal = 65; }},
    {"the image uses",
     [](auto& r) { at<Header>(r, R::header).features &= ~std::uint64_t{kFeatureInodes}; }},
    {"beyond the end of a file", [](auto& r) { page_ref(r, 4).address = 0x2000; }},
    {"objref 5 is used twice", [](auto& r) { at<Vma>(r, R::vma, 2).ino_objref = 5; }},
    {"ino_size", [](auto& r) { at<Vma>(r, R::vma, 2).ino_size = 0; }},
    {"nr_actions", [](auto& r) { at<Sighand>(r, R::sighand).nr_actions = 65; }},
    {"does not hold 64", [](auto& r) { after(r, R::sighand).resize(63 * 32); }},
    {"nr_rlimits", [](auto& r) { at<Signal>(r, R::signal).nr_rlimits = 0; }},
    {"nr_timers is too large", [](auto& r) { at<Signal>(r, R::signal).nr_timers = 0xffffffff; }},
    {"POSIX_TIMER was expected", [](auto& r) { at<Signal>(r, R::signal).nr_timers = 2; }},
    {"id of a timer", [](auto& r) { at<PosixTimer>(r, R::posix_timer).id = -1; }},
    {"is no file", [](auto& r) { at<FileState>(r, R::file_state).file_objref = 5; }},
    {"unknown kind 5", [](auto& r) { at<FileState>(r, R::file_state).kind = 5; }},
    {"nr_watches is too large", [](auto& r) { at<FileState>(r, R::file_state).nr_watches = ~0U; }},
    {"does not hold 2", [](auto& r) { at<FileState>(r, R::file_state).nr_watches = 2; }},
    {"nr_groups", [](auto& r) { at<Cred>(r, R::cred).nr_groups = 65537; }},
    {"does not hold 3", [](auto& r) { at<Cred>(r, R::cred).nr_groups = 3; }},
    {"576 to 16384", [](auto& r) { after(r, R::cpu).resize(575); }},
    {"576 to 16384", [](auto& r) { after(r, R::cpu).resize(16385); }},
    {"does not hold", [](auto& r) { at<Sigpending>(r, R::sigpending, 1).nr_pending = ~0U; }},
    {"a pending signal 65", [](auto& r) { after(r, R::sigpending, 1)[0] = std::byte{65}; }},
    {"one CRED", [](auto& r) { at<TaskCreds>(r, R::task_creds).cred_ref = 8; }},
    {"one CRED", [](auto& r) { at<TaskCreds>(r, R::task_creds).ecred_ref = 0; }},
    {"mm_objref", [](auto& r) { at<TaskObjs>(r, R::task_objs).mm_objref = 0; }},
    {"mm_objref", [](auto& r) { at<TaskObjs>(r, R::task_objs).sighand_objref = 5; }},
    {"THREAD was expected", [](auto& r) { r.erase(R::thread); }},
    {"is no pipe", [](auto& r) { at<PipeSize>(r, R::pipe_size).pipe_objref = 5; }},
    {"capacity", [](auto& r) { at<PipeSize>(r, R::pipe_size).capacity = 1U << 30; }},
    {"more sizes than files",
     [](auto& r) {
       const std::size_t first = r.find(R::pipe_size);
       r.insert(first, R::pipe_size, r.all[first].payload);
     }},
    {"nr_pages", [](auto& r) { at<Pgarr>(r, R::pgarr).nr_pages = 4097; }},
    {"nr_pages", [](auto& r) { at<Pgarr>(r, R::pgarr).nr_pages = 3; }},
    {"nr_refs", [](auto& r) { at<Pgarr>(r, R::pgarr).nr_refs = 0; }},
    {"nr_refs", [](auto& r) { at<Pgarr>(r, R::pgarr).nr_refs = 6; }},
    {"empty or unaligned", [](auto& r) { page_ref(r, 0).count = 0; }},
    {"empty or unaligned", [](auto& r) { page_ref(r, 0).address = 0x3001; }},
    {"pages that are not there", [](auto& r) { page_ref(r, 0).first = 1; }},
    {"pages that are not there", [](auto& r) { repeat(r).first = 2; }},
    {"pages that are not there",
     [](auto& r) { at<Header>(r, R::header).features = kFeatures & ~kFeatureRepeats; }},
    {"where no private mapping", [](auto& r) { page_ref(r, 0).address = 0x7000; }},
    {"where no private mapping", [](auto& r) { page_ref(r, 0).address = 0x9000; }},
    {"where no private mapping", [](auto& r) { page_ref(r, 0).address = ~0xfffULL; }},
    {"is no address space", [](auto& r) { page_ref(r, 0).objref = 7; }},
    {"beyond the end of a shared", [](auto& r) { page_ref(r, 3).address = 0x2000; }},
};

}  // namespace

TEST_CASE("Memory and registers come back, and pages go to their sink", "[format]") {
  const Bytes file = image_file_of(memory_image);
  MemorySource source(file);
  StreamReader reader(source);
  Collected pages;
  const auto image = read_image(reader, &pages);
  REQUIRE(image.has_value());
  CHECK(pages.got ==
        std::vector<std::string>{"5:ab", "5:b", "5:0", "6:a", "20:b", "6:c", "5:000", "5:bc"});
  const ProcessImage& p = image->process;
  REQUIRE(p.mms.size() == 1);
  CHECK(p.mms[0].exe == "/bin/true");
  REQUIRE(p.mms[0].vmas.size() == 4);
  CHECK(p.mms[0].vmas[0].path == "/bin/true");
  REQUIRE(p.mms[0].guards.size() == 2);
  CHECK(p.mms[0].guards[1].end == 0xc000);
  CHECK(p.mms[0].pages == 9);
  CHECK(p.shms.at(0).pages == 2);
  CHECK(p.threads.at(0).cpu.rip == 0x1234);
  CHECK(p.threads[0].pending.at(0).signo() == 10);
  CHECK(p.signals.at(0).timers.at(0).signo == 14);
  CHECK(p.file_states.at(0).watches.size() == 1);
  REQUIRE(p.spaces.size() == 2);
  CHECK(p.spaces[1].nodename == "host");
  CHECK(p.task_spaces.at(0).uts == 2);
  CHECK(p.threads.at(0).io_priority == 3 << 13);
  CHECK(p.threads.at(0).processors == std::vector<u64le>{u64le(0), u64le(1)});
  REQUIRE(p.inodes.size() == 2);
  CHECK(p.inodes[0].name == "m");
  CHECK(p.inodes[0].files == std::vector<s32le>{11});
  CHECK(p.inodes[0].pages == 1);
  CHECK(p.inodes[1].name == "/gone");
  CHECK(p.sockets.at(0).messages.at(0) == 10);
  CHECK(p.sockets.at(0).options.at(1).value == -1);
  CHECK(p.owners.at(0).signal == 64);
  CHECK(p.creds.at(0).groups.size() == 2);
  CHECK(p.pipes.at(0).capacity == 65536);
  CHECK(image->pipe_bufs.at(0).bytes == std::string(10, 'x'));
}

TEST_CASE("Pages stand in frames of their own", "[format]") {
  const Bytes file = image_file_of(memory_image);
  MemorySource source(file);
  StreamReader reader(source);
  std::uint64_t before = 0;
  for (auto record = reader.next(); record.has_value() && record->type != 0; record = reader.next())
    if (record->type == static_cast<std::uint32_t>(R::pgarr)) {
      CHECK(reader.file_offset() != before);
      break;
    } else {
      before = reader.file_offset();
    }
}

TEST_CASE("Every forbidden layout of memory is refused by name", "[format]") {
  const Bytes good = records_of(memory_image);
  REQUIRE(load(good).has_value());
  int line = 0;
  for (const MemoryDamage& damage : kMemoryDamages) {
    LooseRecords records(good);
    damage.edit(records);
    CAPTURE(line++, damage.expect);
    const auto image = load(records.stream());
    REQUIRE(image.has_error());
    CHECK(image.error().kind == ErrorKind::damaged);
    CHECK_THAT(image.error().message(), Catch::Contains(damage.expect));
  }
}

TEST_CASE("The digest of memory tells other contents and other places", "[format]") {
  const auto digest = [](const std::function<void(LooseRecords&)>& edit) {
    LooseRecords records(records_of(memory_image));
    edit(records);
    return load(records.stream()).value().process.mms[0].digest;
  };
  const std::uint64_t plain = digest([](auto&) {});
  CHECK(digest([](auto& r) { page_ref(r, 0).address = 0x4000; }) != plain);
  CHECK(digest([](auto& r) { page_ref(r, 1).first = 0; }) != plain);
  CHECK(digest([](auto& r) { std::swap(page_ref(r, 0), page_ref(r, 1)); }) == plain);
}

TEST_CASE("A flipped bit in memory records gives an error or an image, never more", "[format]") {
  Bytes stream = records_of(memory_image);
  std::size_t refused = 0;
  for (std::size_t bit = 0; bit < stream.size() * 8; bit += 7) {
    stream[bit / 8] ^= std::byte{1} << (bit % 8);
    MemoryRecordSource source(stream);
    const auto image = read_image(source);
    stream[bit / 8] ^= std::byte{1} << (bit % 8);
    if (image.has_error() && image.error().kind != ErrorKind::damaged) FAIL("bit " << bit);
    refused += image.has_error();
  }
  CHECK(refused > 100);
}
