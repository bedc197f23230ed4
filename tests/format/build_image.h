// Small images for tests, written record by record. ImageBuilder knows the order of the records and
// nothing of their meaning; small_image() is complete: every type of record stands in it.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <string>
#include <vector>

#include "format/image.h"
#include "format/record_io.h"
#include "format/stream.h"

namespace ckpt::format::test {

using Numbers = std::vector<std::int32_t>;  // of one pid object, from the root namespace down

class ImageBuilder {
 public:
  explicit ImageBuilder(RecordSink& sink) : sink_(sink) {}

  static Header header(Mode mode, std::uint64_t features) {
    Header h{};
    h.magic = kHeadMagic;
    h.arch_id = 0x3e;
    h.rev = 23;
    h.task_comm_len = kCommLen;
    h.uts_sysname_len = h.uts_nodename_len = h.uts_release_len = h.uts_version_len =
        h.uts_machine_len = h.uts_domainname_len = kUtsLen;
    h.uflags = mode == kModeSubtree ? 1 : 0;
    h.format_major = kFormatMajor;
    h.format_minor = kFormatMinor;
    h.source = kSourceHistory;
    h.mode = mode;
    h.features = features;
    return h;
  }

  void head(Mode mode, std::uint64_t features = 0) { head(header(mode, features)); }
  void head(const Header& h) {
    sink_.record(RecordType::header, h);
    for (const char* text : {"6.1.0", "#1 SMP", "x86_64", "host"}) uts(text);
    if (h.mode == kModeContainer) sink_.begin(RecordType::container, 0);
  }

  // Pid object i gets objref first + i.
  void pids(const std::vector<Numbers>& entries, std::uint32_t first = 1) {
    std::vector<s32le> words;
    Pids p{};
    p.nr_pids = static_cast<std::uint32_t>(entries.size());
    p.offset = first;
    for (const Numbers& numbers : entries) {
      const auto depth = static_cast<std::int32_t>(numbers.size()) - 1;
      p.nr_vpids += static_cast<std::uint32_t>(depth);
      words.emplace_back(depth);
      for (const std::int32_t n : numbers) words.emplace_back(n);
    }
    sink_.record(RecordType::pids, p);
    buffer(words);
  }

  // {pid, ppid, tgid, pgid, sid, depth}
  static TreeEntry entry(std::int32_t pid, std::int32_t ppid, std::int32_t tgid, std::int32_t pgid,
                         std::int32_t sid, std::uint32_t depth = 0) {
    TreeEntry e{};
    e.pid = pid;
    e.ppid = ppid;
    e.tgid = tgid;
    e.pgid = pgid;
    e.sid = sid;
    e.depth = depth;
    return e;
  }
  void tree(const std::vector<TreeEntry>& entries) {
    Tree t{};
    t.nr_tasks = static_cast<std::uint32_t>(entries.size());
    sink_.record(RecordType::tree, t);
    buffer(entries);
  }

  void pid_ns(std::int32_t ref, std::int32_t parent, std::uint32_t level,
              NsState state = kNsAlive) {
    PidNs ns{};
    ns.objref = ref;
    ns.parent = parent;
    ns.level = level;
    ns.state = state;
    sink_.record(RecordType::pid_ns, ns);
  }
  void pid_ns_map(const std::vector<std::uint32_t>& indexes) {
    PidNsMap m{};
    m.nr_pids = static_cast<std::uint32_t>(indexes.size());
    sink_.record(RecordType::pid_ns_map, m);
    buffer(std::vector<u32le>(indexes.begin(), indexes.end()));
  }

  // TASK and comm.
  void task(const std::string& comm, std::uint32_t exit_state = 0, std::uint32_t exit_code = 0) {
    Task t{};
    t.exit_state = exit_state;
    t.exit_code = exit_code;
    t.exit_signal = 17;
    sink_.record(RecordType::task, t);
    sink_.text(RecordType::string, comm);
  }
  void task_kin(std::int32_t child_ns, std::uint32_t subreaper) {
    TaskKin k{};
    k.child_ns = child_ns;
    k.subreaper = subreaper;
    sink_.record(RecordType::task_kin, k);
  }
  void objref(ObjType type, std::int32_t ref) {
    Objref o{};
    o.objtype = type;
    o.objref = ref;
    sink_.record(RecordType::objref, o);
  }
  void file_table(std::int32_t ref, std::int32_t fds) {
    objref(kObjFileTable, ref);
    FileTable t{};
    t.fdt_nfds = fds;
    sink_.record(RecordType::file_table, t);
  }
  void file(std::int32_t ref, FileType type, const std::string& path, std::uint64_t pos = 0,
            std::int32_t pipe = 0) {
    objref(kObjFile, ref);
    File f{};
    f.f_type = type;
    f.f_flags = 2;  // O_RDWR
    f.f_pos = pos;
    f.pipe_objref = pipe;
    sink_.record(RecordType::file, f);
    sink_.text(RecordType::file_name, path);
  }
  void fd(std::int32_t file_ref, std::int32_t number, bool cloexec = false, bool pending = false) {
    FileDesc d{};
    d.fd_objref = file_ref;
    d.fd_descriptor = number;
    d.fd_close_on_exec = cloexec ? 1 : 0;
    d.fd_pending = pending ? 1 : 0;
    sink_.record(RecordType::file_desc, d);
  }
  void fs(std::int32_t ref, const std::string& root, const std::string& cwd) {
    objref(kObjFs, ref);
    Fs f{};
    f.umask = 022;
    f.umask_known = 1;
    sink_.record(RecordType::fs, f);
    sink_.text(RecordType::string, root);
    sink_.text(RecordType::string, cwd);
  }
  void task_objs(std::int32_t files, std::int32_t fs_ref) {
    TaskObjs o{};
    o.files_objref = files;
    o.fs_objref = fs_ref;
    sink_.record(RecordType::task_objs, o);
  }
  void lock(LockKind kind, std::uint64_t start, std::uint64_t end, std::int32_t file_ref,
            std::int32_t table) {
    FileLock l{};
    l.kind = kind;
    l.exclusive = 1;
    l.start = start;
    l.end = end;
    l.file_objref = file_ref;
    l.table_objref = table;
    sink_.record(RecordType::file_lock, l);
  }
  // Of a process with one thread.
  void request(RequestKind kind, std::int32_t pid, std::int32_t fd, std::int32_t file_ref) {
    Request r{};
    r.process = r.lwp = pid;
    r.kind = kind;
    r.fd = fd;
    r.file_objref = file_ref;
    r.offset = -1;
    sink_.record(RecordType::request, r);
  }
  void trace(const std::string& lines) {
    sink_.record(RecordType::trace, lines.data(), lines.size());
  }
  void pipe_buf(std::int32_t pipe, std::uint32_t flags, const std::string& bytes,
                std::uint64_t length = 0) {
    PipeBuf p{};
    p.pipe_objref = pipe;
    p.flags = flags;
    p.length = flags == 0 ? bytes.size() : length;
    sink_.record(RecordType::pipe_buf, p);
    if (flags == 0) sink_.record(RecordType::buffer, bytes.data(), bytes.size());
  }
  void tail() {
    Tail t{};
    t.magic = kTailMagic;
    sink_.record(RecordType::tail, t);
  }

 private:
  template <class T>
  void buffer(const std::vector<T>& items) {
    sink_.record(RecordType::buffer, items.data(), items.size() * sizeof(T));
  }
  void uts(const std::string& text) {
    std::array<char, kUtsLen> field{};
    std::copy(text.begin(), text.end(), field.begin());
    sink_.record(RecordType::buffer, field.data(), field.size());
  }

  RecordSink& sink_;
};

// Every type of record, in a container: init (pid 100) with a stopped child in a namespace of its
// own, a zombie, and pipes between the first two.
inline void small_image(RecordSink& sink) {
  ImageBuilder b(sink);
  b.head(kModeContainer,
         kFeatureNestedNs | kFeatureFiles | kFeatureLocks | kFeaturePipes | kFeatureRequests);
  b.pids({{1}, {7, 1}, {8}});
  using B = ImageBuilder;
  b.tree({B::entry(1, 0, 1, 1, 1), B::entry(2, 1, 2, 1, 1, 1), B::entry(3, 1, 3, 3, 1)});
  b.pid_ns(4, 0, 0);
  b.pid_ns(5, 4, 1);
  b.pid_ns_map({0, 1, 0});

  b.task("init");
  b.task_kin(5, 1);
  b.file_table(6, 2);
  b.file(7, kFilePipe, "pipe:[1]", 0, 8);
  b.fd(7, 0);
  b.file(9, kFileGeneric, "/var/log/job.log", 42);
  b.fd(9, 3, true);
  b.fs(10, "/", "/tmp");
  b.task_objs(6, 10);

  b.task("sh");
  b.file_table(11, 1);
  b.file(12, kFilePipe, "pipe:[1]", 0, 8);
  b.fd(12, 1);
  b.task_objs(11, 10);

  b.task("true", kExitZombie, 0x100);
  b.lock(kLockPosix, 10, 19, 9, 6);
  b.request(kRequestRead, 1, 0, 7);
  b.pipe_buf(8, 0, "go");
  b.pipe_buf(8, kPipeBytesUnknown, {}, 100);
  b.trace("1/1 1 pipe2([0, 1], 0) = 0\n");
  b.tail();
}

inline std::vector<std::byte> records_of(void (*build)(RecordSink&)) {
  MemoryRecords records;
  build(records);
  return std::move(records.bytes);
}

inline std::vector<std::byte> image_file_of(void (*build)(RecordSink&),
                                            WriterOptions options = {}) {
  MemorySink sink;
  StreamWriter writer(sink, options);
  build(writer);
  const Status closed = writer.close();
  CKPT_ASSERT(closed.has_value());
  return std::move(sink.bytes);
}

}  // namespace ckpt::format::test
