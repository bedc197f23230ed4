#include "cli/image_json.h"

#include <sys/stat.h>

#include <cstdio>
#include <unordered_map>
#include <unordered_set>

namespace ckpt::cli {

namespace json = boost::json;

namespace {

// An array whose elements go out one by one, a line each.
class ArrayWriter {
 public:
  ArrayWriter(Out& out, std::string_view key) : out_(out) { out_ << ",\n\"" << key << "\": ["; }
  ~ArrayWriter() { out_ << (first_ ? "]" : "\n]"); }
  ArrayWriter(const ArrayWriter&) = delete;
  ArrayWriter& operator=(const ArrayWriter&) = delete;
  void add(const json::value& value) {
    out_ << (first_ ? "\n  " : ",\n  ") << json::serialize(value);
    first_ = false;
  }

 private:
  Out& out_;
  bool first_ = true;
};

void member(Out& out, std::string_view key, const json::value& value) {
  out << ",\n\"" << key << "\": " << json::serialize(value);
}

json::value number(std::int32_t nr) {
  return nr == format::kNrUnknown ? json::value() : json::value(nr);
}

json::array numbers(std::span<const std::int32_t> of) {
  json::array a;
  for (const std::int32_t nr : of) a.push_back(number(nr));
  return a;
}

class ImageJson {
 public:
  ImageJson(Out& out, const ImageFacts& facts, const ProcessFacts* only)
      : out_(out), facts_(facts), image_(facts.image), only_(only) {
    for (std::uint32_t i = 0; i < image_.file_tables.size(); ++i)
      tables_[image_.file_tables[i].ref] = i;
    for (std::uint32_t i = 0; i < image_.fs.size(); ++i) fs_[image_.fs[i].ref] = i;
    if (only_) choose();
  }

  void print(const json::object& extra, bool leave_open) {
    head();
    namespaces();
    pids();
    tasks();
    files();
    for (const auto& [key, value] : extra) member(out_, key, value);
    out_ << (leave_open ? ",\n" : "\n}\n");
  }

 private:
  void choose();
  void head();
  void namespaces();
  void pids();
  void tasks();
  void files();
  void contents(const format::ImageFile& file, json::object& o) const;
  static json::object socket(const format::ImageSocket& socket);
  [[nodiscard]] json::object task(const ProcessFacts& p) const;
  [[nodiscard]] json::object request(const format::Request& r) const;
  [[nodiscard]] json::value nr(std::int32_t ref) const {
    const auto n = facts_.root_nr(ref);
    return n ? json::value(*n) : json::value();
  }
  [[nodiscard]] const format::ImageFileTable* table(const ProcessFacts& p) const;
  [[nodiscard]] json::array fds(const ProcessFacts& p) const;

  Out& out_;
  const ImageFacts& facts_;
  const format::Image& image_;
  const ProcessFacts* only_;
  std::unordered_map<std::int32_t, std::uint32_t> tables_, fs_;
  std::unordered_set<std::uint32_t> only_pids_;
  std::unordered_set<std::int32_t> only_files_;
};

// A dead leader's files are those of its living threads.
std::int32_t objref_of(const format::Image& image, const ProcessFacts& p,
                       format::s32le format::TaskObjs::*member) {
  for (std::uint32_t i = 0; i < p.threads; ++i)
    if (const std::int32_t ref = image.objs[p.first + i].*member) return ref;
  return 0;
}

void ImageJson::choose() {
  for (std::uint32_t i = 0; i < only_->threads; ++i)
    only_pids_.insert(facts_.pid_index(image_.tree[only_->first + i].pid));
  const format::TreeEntry& e = facts_.leader(*only_);
  for (const std::int32_t ref : {std::int32_t{e.tgid}, std::int32_t{e.pgid}, std::int32_t{e.sid}})
    only_pids_.insert(facts_.pid_index(ref));
  if (const format::ImageFileTable* t = table(*only_))
    for (const format::FileDesc& fd : t->fds) only_files_.insert(fd.fd_objref);
}

void ImageJson::head() {
  const format::Header& h = image_.header;
  out_ << "{\n\"format\": "
       << json::serialize(
              json::object{{"major", h.format_major.value()}, {"minor", h.format_minor.value()}});
  member(out_, "source", h.source == format::kSourceHistory ? "history" : "host");
  member(out_, "mode", h.mode == format::kModeContainer ? "container" : "subtree");
  member(out_, "time", h.time == 0 ? json::value() : json::value(h.time.value()));
  if (h.source != format::kSourceHost) return;
  member(out_, "host",
         json::object{{"nodename", valid_utf8(image_.nodename)},
                      {"release", valid_utf8(image_.release)},
                      {"version", valid_utf8(image_.version)},
                      {"machine", valid_utf8(image_.machine)}});
}

void ImageJson::namespaces() {
  ArrayWriter array(out_, "namespaces");
  constexpr const char* kStates[] = {"alive", "empty", "exiting", "dead"};
  for (std::size_t i = 0; i < image_.namespaces.size(); ++i) {
    const format::PidNs& ns = image_.namespaces[i];
    const bool known = ns.state < std::size(kStates);
    array.add(json::object{
        {"id", i},
        {"parent", ns.parent == 0 ? json::value() : json::value(facts_.namespace_index(ns.parent))},
        {"level", ns.level.value()},
        {"state", known ? json::value(kStates[ns.state]) : json::value()}});
  }
}

void ImageJson::pids() {
  ArrayWriter array(out_, "pids");
  for (std::uint32_t i = 0; i < image_.pids.size(); ++i) {
    if (only_ && !only_pids_.contains(i)) continue;
    std::vector<std::uint32_t> path;  // from the innermost namespace outwards
    for (std::uint32_t ns = image_.ns_of(i);;) {
      path.push_back(ns);
      if (ns >= image_.namespaces.size() || image_.namespaces[ns].parent == 0) break;
      ns = facts_.namespace_index(image_.namespaces[ns].parent);
    }
    array.add(json::object{{"ref", image_.pids.first_ref() + static_cast<std::int64_t>(i)},
                           {"numbers", numbers(image_.pids.numbers(i))},
                           {"namespaces", json::array(path.rbegin(), path.rend())},
                           {"ghost", facts_.uses[i].ghost()}});
  }
}

const format::ImageFileTable* ImageJson::table(const ProcessFacts& p) const {
  const auto found = tables_.find(objref_of(image_, p, &format::TaskObjs::files_objref));
  return found == tables_.end() ? nullptr : &image_.file_tables[found->second];
}

json::array ImageJson::fds(const ProcessFacts& p) const {
  json::array a;
  const format::ImageFileTable* t = table(p);
  if (!t) return a;
  for (const format::FileDesc& fd : t->fds)
    a.push_back(json::object{{"fd", fd.fd_descriptor.value()},
                             {"file", fd.fd_objref.value()},
                             {"cloexec", fd.fd_close_on_exec != 0},
                             {"state", fd.fd_pending != 0 ? "pending" : "live"}});
  return a;
}

json::object ImageJson::request(const format::Request& r) const {
  constexpr const char* kKinds[] = {"read", "write", "wait", "async-read", "async-write"};
  constexpr const char* kWho[] = {"any", "pid", "group", "own-group"};
  json::object o;
  o["lwp"] = r.lwp == 0 ? json::value() : nr(r.lwp);
  o["kind"] = kKinds[r.kind - format::kRequestRead];
  if (r.kind == format::kRequestWait) {
    o["who"] = kWho[r.who];
    o["target"] = r.target == 0 ? json::value() : nr(r.target);
    return o;
  }
  o["fd"] = r.fd.value();
  o["file"] = r.file_objref == 0 ? json::value() : json::value(r.file_objref.value());
  o["bytes"] = r.bytes == 0 ? json::value() : json::value(r.bytes.value());
  if (r.offset >= 0) o["offset"] = r.offset.value();
  if (r.kind >= format::kRequestAsyncRead) o["data"] = r.data.value();
  return o;
}

json::object ImageJson::task(const ProcessFacts& p) const {
  const format::TreeEntry& e = facts_.leader(p);
  const format::Task& t = image_.tasks[p.first];
  const format::TaskKin kin = image_.kin_of(p.first);
  const ProcessState state = facts_.state(p);
  json::object o;
  o["pid"] = nr(e.pid);
  o["ppid"] = nr(e.ppid);
  o["tgid"] = nr(e.tgid);
  o["pgid"] = nr(e.pgid);
  o["sid"] = nr(e.sid);
  const std::uint32_t pid = facts_.pid_index(e.pid);
  o["numbers"] = pid == kNone ? json::array() : numbers(image_.pids.numbers(pid));
  o["comm"] = valid_utf8(image_.comm(p.first));
  o["state"] = state_name(state);
  json::array lwps, requests;
  for (std::uint32_t i = 0; i < p.threads; ++i) lwps.push_back(nr(image_.tree[p.first + i].pid));
  o["lwps"] = std::move(lwps);
  o["fds"] = fds(p);
  if (const auto asked = facts_.requests.find(e.tgid); asked != facts_.requests.end())
    for (const format::Request* r : asked->second) requests.push_back(request(*r));
  if (!requests.empty()) o["requests"] = std::move(requests);
  if (const format::ImageFileTable* own = table(p)) o["table"] = own->ref;
  o["exit_signal"] = t.exit_signal.value();
  o["exit_code"] = state == ProcessState::zombie ? json::value(t.exit_code.value()) : json::value();
  o["subreaper"] = kin.subreaper > 1 ? json::value() : json::value(kin.subreaper == 1);
  if (!image_.nodes.empty()) {
    const std::uint32_t node = image_.node_of(p.first);
    o["node"] = valid_utf8(image_.nodes[node]);
    json::array surrogates;
    for (std::uint32_t i = 0; i < image_.nodes.size(); ++i)
      if (i != node) surrogates.push_back(json::value(valid_utf8(image_.nodes[i])));
    o["surrogates"] = std::move(surrogates);
  }
  if (kin.child_ns != 0) o["child_namespace"] = facts_.namespace_index(kin.child_ns);
  const auto fs = fs_.find(objref_of(image_, p, &format::TaskObjs::fs_objref));
  if (fs != fs_.end()) {
    const format::ImageFs& f = image_.fs[fs->second];
    o["cwd"] = f.cwd.empty() ? json::value() : json::value(valid_utf8(f.cwd));
    o["root"] = f.root.empty() ? json::value() : json::value(valid_utf8(f.root));
    o["umask"] = f.fs.umask_known != 0 ? json::value(f.fs.umask.value()) : json::value();
  }
  return o;
}

void ImageJson::tasks() {
  ArrayWriter array(out_, "tasks");
  facts_.for_each(only_, [&](const ProcessFacts& p) { array.add(task(p)); });
}

void ImageJson::files() {
  ArrayWriter array(out_, "files");
  for (const format::ImageFile& f : image_.files) {
    if (only_ && !only_files_.contains(f.ref)) continue;
    json::array flags;
    for (const std::string& flag : open_flags(f.file.f_flags)) flags.emplace_back(flag);
    json::object o;
    o["ref"] = f.ref;
    o["type"] = file_type_name(f.file);
    const bool unknown = unknown_file(f);
    o["path"] = unknown ? json::value() : json::value(valid_utf8(f.path));
    o["flags"] = unknown ? json::value() : json::value(std::move(flags));
    o["offset"] = unknown ? json::value() : json::value(f.file.f_pos.value());
    o["deleted"] = f.file.deleted != 0;
    if (f.file.pipe_objref != 0) o["pipe"] = f.file.pipe_objref.value();
    if (f.file.ino != 0) o["inode"] = {{"dev", f.file.dev.value()}, {"ino", f.file.ino.value()}};
    contents(f, o);
    array.add(o);
  }
}

json::object ImageJson::socket(const format::ImageSocket& socket) {
  const format::Socket& s = socket.socket;
  constexpr const char* kPeers[] = {"none", "paired", "closed"};
  json::array messages;
  for (const std::uint32_t size : socket.messages) messages.emplace_back(size);
  json::object options;
  for (const format::SocketOption& o : socket.options)
    options[std::to_string(o.option)] = o.value.value();
  json::object out{{"type", socket_type_name(socket)},
                   {"other_end", kPeers[s.peer]},
                   {"receives", (s.shutdown & format::kShutReceive) == 0},
                   {"sends", (s.shutdown & format::kShutSend) == 0},
                   {"error", s.error.value()},
                   {"creator_uid", s.peer_uid.value()},
                   {"creator_gid", s.peer_gid.value()},
                   {"options", std::move(options)}};
  if (s.type != format::kStream) out["messages"] = std::move(messages);
  return out;
}

// What is in flight (for a reading end) and the locks, where there are any.
void ImageJson::contents(const format::ImageFile& file, json::object& o) const {
  const std::int32_t pipe = file.file.pipe_objref;
  if (const auto peer = facts_.peers.find(pipe); peer != facts_.peers.end())
    o["peer"] = peer->second;
  const auto flight = facts_.in_flight.find(pipe);
  if (flight != facts_.in_flight.end() && (file.file.f_flags & 3) != 1) {
    const InFlight& f = flight->second;
    o["in_flight"] = {{"bytes", f.uncertain ? json::value() : json::value(f.bytes)},
                      {"known", f.known}};
  }
  if (const auto inside = facts_.sockets.find(file.ref); inside != facts_.sockets.end())
    o["socket"] = socket(*inside->second);
  const auto found = facts_.locks.find(file.ref);
  if (found == facts_.locks.end()) return;
  json::array locks;
  for (const format::FileLock* at : found->second) {
    const format::FileLock& lock = *at;
    const char* const kinds[] = {"", "fcntl", "ofd", "flock"};
    json::object l;
    l["kind"] = kinds[lock.kind];
    l["type"] = lock.exclusive != 0 ? "write" : "read";
    l["start"] = lock.start.value();
    l["end"] = lock.end == format::kLockEnd ? json::value() : json::value(lock.end.value());
    if (lock.table_objref != 0) l["table"] = lock.table_objref.value();
    locks.push_back(std::move(l));
  }
  o["locks"] = std::move(locks);
}

}  // namespace

const char* file_type_name(const format::File& file) {
  switch (file.f_type) {
    case format::kFilePipe:
      return "pipe";
    case format::kFileFifo:
      return "fifo";
    case format::kFileSocket:
      return "socket";
    case format::kFileTty:
      return "tty";
    case format::kFileGeneric:
      break;
    default:
      return "other";
  }
  switch (file.f_mode & S_IFMT) {
    case 0:
    case S_IFREG:
      return "regular";
    case S_IFDIR:
      return "directory";
    case S_IFCHR:
      return "char";
    case S_IFIFO:
      return "fifo";
    case S_IFSOCK:
      return "socket";
    default:
      return "other";
  }
}

bool unknown_file(const format::ImageFile& file) {
  return file.file.f_type == format::kFileOpaque && file.path.empty();
}

std::vector<std::string> open_flags(std::uint32_t flags) {
  // x86-64's numbers, as the image has them. O_SYNC holds O_DSYNC's bit, O_TMPFILE O_DIRECTORY's.
  constexpr struct {
    std::uint32_t bits;
    const char* name;
  } kFlags[] = {{020200000, "O_TMPFILE"}, {04010000, "O_SYNC"},    {0100, "O_CREAT"},
                {0200, "O_EXCL"},         {0400, "O_NOCTTY"},      {01000, "O_TRUNC"},
                {02000, "O_APPEND"},      {04000, "O_NONBLOCK"},   {010000, "O_DSYNC"},
                {020000, "O_ASYNC"},      {040000, "O_DIRECT"},    {0100000, "O_LARGEFILE"},
                {0200000, "O_DIRECTORY"}, {0400000, "O_NOFOLLOW"}, {01000000, "O_NOATIME"},
                {010000000, "O_PATH"}};
  constexpr const char* kAccess[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
  std::vector<std::string> names{kAccess[flags & 3]};
  std::uint32_t left = flags & ~3U;
  for (const auto& f : kFlags) {
    if ((left & f.bits) != f.bits) continue;
    names.emplace_back(f.name);
    left &= ~f.bits;
  }
  if (left != 0) {
    char text[16];
    std::snprintf(text, sizeof text, "0x%x", left);
    names.emplace_back(text);
  }
  return names;
}

void print_json(Out& out, const ImageFacts& facts, const ProcessFacts* only,
                const json::object& extra, bool leave_open) {
  ImageJson(out, facts, only).print(extra, leave_open);
}

}  // namespace ckpt::cli
