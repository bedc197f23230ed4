// ImageReader, first part: HEADER, PIDS, TREE, the namespaces, TAIL.
#include <algorithm>

#include "format/frames.h"
#include "format/image_reader.h"

namespace ckpt::format {
namespace {

// Bounds the memory for an image whose metadata was made large by compression alone.
constexpr std::uint64_t kMaxMetadata = 4ULL << 30;

// Paths are at most PATH_MAX (4096) for open(2); those that getcwd(2) tells may be longer.
constexpr std::size_t kMaxText = 64U << 10;         // bytes of one text, its NUL included
constexpr std::uint64_t kMaxTexts = 1024ULL << 20;  // of all

std::uint32_t load32(const std::byte* at) {
  u32le v;
  std::memcpy(&v, at, sizeof v);
  return v;
}

}  // namespace

std::string number(std::int64_t n) {
  return std::to_string(n);
}

Result<Image> read_image(RecordSource& source, PageSink* pages) {
  return ImageReader(source, pages).read();
}

Result<Image> ImageReader::read() {
  CKPT_CHECK(advance());
  CKPT_CHECK(read_header());
  CKPT_CHECK(read_pids());
  CKPT_CHECK(read_tree());
  CKPT_CHECK(read_namespaces());
  CKPT_CHECK(read_nodes());
  if (image_.has_memory()) CKPT_CHECK(read_platform());
  CKPT_CHECK(read_tasks());
  CKPT_CHECK(read_contents());
  if (image_.has_memory()) CKPT_CHECK(read_memory());
  CKPT_CHECK(read_tail());
  return std::move(image_);
}

Status ImageReader::advance() {
  for (;;) {
    auto next = source_.next();
    if (next.has_error()) return next.error();
    record_ = *next;
    if (record_.type >= kFirstSkippableType && record_.type <= kLastOwnType &&
        record_name(record_.type) == nullptr)
      continue;
    if (record_.type != 0 && record_name(record_.type) == nullptr) {
      Error e = bad("a record of type " + std::to_string(record_.type) +
                    " is unknown, and must not be skipped");
      e.hint = "the image may need a newer ckpt";
      return e;
    }
    if (contents_at_ == 0 && record_.offset > kMaxMetadata)
      return bad("more than 4 GiB of metadata");
    return {};
  }
}

Error ImageReader::bad(const std::string& why) const {
  const std::uint64_t file = source_.file_offset();
  std::string place = record_place(record_.number, record_.type, record_.offset);
  if (file != record_.offset) place += " (frame at file offset " + std::to_string(file) + ")";
  return damaged("cannot read image", place + ": " + why, file);
}

Error ImageReader::unexpected(RecordType wanted) const {
  return bad(std::string(record_name(static_cast<std::uint32_t>(wanted))) + " was expected here");
}

// A newer minor version may have put new fields behind ours.
Status ImageReader::check_length(std::size_t expected) {
  const std::size_t n = record_.payload.size();
  if (n == expected || (n > expected && newer_minor_)) return {};
  return bad("length " + std::to_string(n + 8) + ", but it should be " +
             std::to_string(expected + 8));
}

// Text and one NUL, at its end.
Status ImageReader::check_text() {
  const auto p = record_.payload;
  if (p.empty() || std::memchr(p.data(), 0, p.size()) != p.data() + p.size() - 1)
    return bad("text does not end in its only NUL");
  return {};
}

Status ImageReader::take_text(RecordType type, std::string& out) {
  if (!at(type)) return unexpected(type);
  CKPT_CHECK(check_text());
  if (record_.payload.size() > kMaxText)
    return bad("a text of " + std::to_string(record_.payload.size()) + " bytes, more than " +
               std::to_string(kMaxText));
  texts_ += record_.payload.size();
  if (texts_ > kMaxTexts) return bad("more than 1 GiB of texts");
  out.assign(reinterpret_cast<const char*>(record_.payload.data()), record_.payload.size() - 1);
  return advance();
}

// Objrefs are positive, and each names one object.
Status ImageReader::define(std::int32_t ref, ObjKind kind) {
  if (ref <= 0) return bad("objref " + number(ref) + " is not positive");
  if (image_.pids.contains(ref) || refs_.kind(ref) != ObjKind::none)
    return bad("objref " + number(ref) + " is used twice");
  refs_.set(ref, kind);
  return {};
}

Status ImageReader::read_header() {
  Header& h = image_.header;
  if (!at(RecordType::header)) return unexpected(RecordType::header);
  // The version stands where it stood in every version: a newer HEADER may be longer.
  if (record_.payload.size() < sizeof h) CKPT_CHECK(check_length(sizeof h));
  std::memcpy(&h, record_.payload.data(), sizeof h);
  if (h.magic != kHeadMagic) return bad("the magic number of HEADER is wrong");
  if (h.format_major != kFormatMajor) {
    Error e = bad("the image has format version " + std::to_string(h.format_major) + "." +
                  std::to_string(h.format_minor) + ", but this ckpt reads only version " +
                  std::to_string(kFormatMajor) + ".x (it writes " + std::to_string(kFormatMajor) +
                  "." + std::to_string(kFormatMinor) + ")");
    e.hint = "use the ckpt that wrote the image, or a newer one";
    return e;
  }
  newer_minor_ = h.format_minor > kFormatMinor;
  CKPT_CHECK(check_length(sizeof h));
  if (const std::uint64_t unknown = h.features & ~kKnownFeatures; unknown != 0) {
    Error e = bad("the image uses features that this ckpt (format version " +
                  std::to_string(kFormatMajor) + "." + std::to_string(kFormatMinor) +
                  ") does not know: " + feature_names(unknown));
    e.hint = "the image has format version " + std::to_string(h.format_major) + "." +
             std::to_string(h.format_minor) + ": use a newer ckpt";
    return e;
  }
  if (h.source != kSourceHistory && h.source != kSourceHost) return bad("unknown source");
  if (h.mode != kModeContainer && h.mode != kModeSubtree) return bad("unknown mode");
  if (h.task_comm_len != kCommLen) return bad("task_comm_len is not 16");
  if (h.uts_release_len != kUtsLen || h.uts_version_len != kUtsLen ||
      h.uts_machine_len != kUtsLen || h.uts_nodename_len != kUtsLen)
    return bad("a uts length is not 65");
  CKPT_CHECK(advance());
  for (std::string* s : {&image_.release, &image_.version, &image_.machine, &image_.nodename})
    CKPT_CHECK(read_uts(*s));
  if (h.mode != kModeContainer) return {};
  if (!at(RecordType::container)) return unexpected(RecordType::container);
  CKPT_CHECK(check_length(0));
  return advance();
}

Status ImageReader::read_uts(std::string& out) {
  if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
  const auto p = record_.payload;
  if (p.size() != kUtsLen) return bad("length " + std::to_string(p.size() + 8) + " is not 73");
  const auto* const text = reinterpret_cast<const char*>(p.data());
  out.assign(text, ::strnlen(text, kUtsLen));
  for (std::size_t i = out.size(); i < kUtsLen; ++i)
    if (text[i] != 0) return bad("text is not padded with NUL");
  if (out.size() == kUtsLen) return bad("text does not end in NUL");
  return advance();
}

Status ImageReader::read_pids() {
  Pids pids{};
  CKPT_CHECK(take(RecordType::pids, pids));
  const std::uint64_t count = pids.nr_pids;
  const std::uint64_t first = pids.offset;
  if (count == 0) return bad("nr_pids is 0");
  if (count > kMaxPids)
    return bad("nr_pids " + std::to_string(count) + " is above " + std::to_string(kMaxPids) +
               ", the pids that Linux can have");
  if (pids.nr_vpids > count * kMaxPidDepth)
    return bad("nr_vpids " + std::to_string(pids.nr_vpids) + " is above " +
               std::to_string(kMaxPidDepth) + " for each of nr_pids " + std::to_string(count));
  if (first == 0 || first + count - 1 > INT32_MAX)
    return bad("offset " + std::to_string(first) + " leaves no room for nr_pids " +
               std::to_string(count) + " objrefs");
  CKPT_CHECK(advance());
  if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
  const std::uint64_t bytes = count * 8 + std::uint64_t{pids.nr_vpids} * 4;
  if (record_.payload.size() != bytes)
    return bad("length " + std::to_string(record_.payload.size() + 8) + ", but nr_pids " +
               std::to_string(count) + " and nr_vpids " + std::to_string(pids.nr_vpids) + " need " +
               std::to_string(bytes + 8));
  vpids_ = pids.nr_vpids;
  image_.pids.set_first_ref(static_cast<std::int32_t>(first));
  image_.pids.reserve(count, count + pids.nr_vpids);
  CKPT_CHECK(read_pid_entries(pids.nr_pids, pids.nr_vpids));
  refs_.expect(first + count);
  return advance();
}

// The size of the payload is count * 8 + vpids * 4.
Status ImageReader::read_pid_entries(std::uint32_t count, std::uint64_t vpids) {
  const std::byte* at = record_.payload.data();
  std::array<std::int32_t, kMaxPidDepth + 1> numbers;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t depth = load32(at);
    const auto here = [i] { return "pid entry " + std::to_string(i) + ": "; };
    if (depth > kMaxPidDepth || depth > vpids)
      return bad(here() + "depth " + std::to_string(depth) + " is beyond " +
                 (depth > kMaxPidDepth ? std::to_string(kMaxPidDepth) : "nr_vpids"));
    vpids -= depth;
    at += 4;
    for (std::uint32_t level = 0; level <= depth; ++level, at += 4) {
      numbers[level] = static_cast<std::int32_t>(load32(at));
      if (numbers[level] <= 0 && numbers[level] != kNrUnknown)
        return bad(here() + "number " + number(numbers[level]) + " at level " +
                   std::to_string(level) + " is no pid");
    }
    image_.pids.add({numbers.data(), depth + 1});
  }
  if (vpids != 0) return bad("nr_vpids is not the sum of the depths");
  return {};
}

Status ImageReader::read_tree() {
  Tree tree{};
  CKPT_CHECK(take(RecordType::tree, tree));
  const std::uint32_t count = tree.nr_tasks;
  if (count == 0) return bad("nr_tasks is 0");
  if (count > image_.pids.size())
    return bad("nr_tasks " + std::to_string(count) + " is above nr_pids " +
               std::to_string(image_.pids.size()));
  CKPT_CHECK(advance());
  if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
  const std::uint64_t bytes = std::uint64_t{count} * sizeof(TreeEntry);
  if (record_.payload.size() != bytes)
    return bad("length " + std::to_string(record_.payload.size() + 8) + ", but nr_tasks " +
               std::to_string(count) + " needs " + std::to_string(bytes + 8));
  image_.tree.resize(count);
  std::memcpy(image_.tree.data(), record_.payload.data(), bytes);
  for (const TreeEntry& entry : image_.tree) CKPT_CHECK(check_entry(entry));
  return advance();
}

Status ImageReader::check_entry(const TreeEntry& e) const {
  const PidTable& pids = image_.pids;
  const auto fail = [&](const char* field, std::int32_t ref) -> Status {
    return bad("tree entry " + number(&e - image_.tree.data()) + ": " + field + " " + number(ref) +
               " is no pid object");
  };
  const auto special = [](std::int32_t ref) {
    return ref == kRefInvisible || ref == kRefAbsent || ref == kRefOutside;
  };
  if (!pids.contains(e.pid)) return fail("pid", e.pid);
  if (!pids.contains(e.tgid)) return fail("tgid", e.tgid);
  if (!pids.contains(e.ppid) && !special(e.ppid)) return fail("ppid", e.ppid);
  if (!pids.contains(e.pgid) && !special(e.pgid)) return fail("pgid", e.pgid);
  if (!pids.contains(e.sid) && !special(e.sid)) return fail("sid", e.sid);
  if (pids.depth(pids.index(e.pid)) != e.depth)
    return bad("tree entry " + number(&e - image_.tree.data()) + ": depth " +
               std::to_string(e.depth) + " is not that of its pid");
  return {};
}

Status ImageReader::read_namespaces() {
  std::unordered_map<std::int32_t, std::uint32_t> levels;
  // Each but the root is above a pid, or above where a task's children are born.
  const std::uint64_t most = vpids_ + std::uint64_t{kMaxPidDepth} * image_.tree.size();
  while (at(RecordType::pid_ns)) {
    PidNs ns{};
    CKPT_CHECK(take(RecordType::pid_ns, ns));
    if (image_.namespaces.size() > most)
      return bad("more namespaces than pids and tasks can be in");
    if (ns.state > kNsDead) return bad("unknown state " + std::to_string(ns.state));
    if (levels.empty() ? ns.parent != 0 || ns.level != 0 : ns.parent == 0)
      return bad("the first PID_NS, and no other, must be the root namespace");
    if (!levels.empty()) {
      const auto parent = levels.find(ns.parent);
      if (parent == levels.end())
        return bad("parent " + number(ns.parent) + " is no PID_NS before this one");
      if (ns.level != parent->second + 1 || ns.level > kMaxPidDepth)
        return bad("level " + std::to_string(ns.level) + " is not one below the parent's");
    }
    CKPT_CHECK(define(ns.objref, ObjKind::pid_ns));
    levels.emplace(ns.objref, ns.level);
    image_.namespaces.push_back(ns);
    CKPT_CHECK(advance());
  }
  if (image_.namespaces.empty()) return unexpected(RecordType::pid_ns);
  return read_namespace_map();
}

Status ImageReader::read_namespace_map() {
  const std::size_t count = image_.pids.size();
  const bool mapped = image_.namespaces.size() > 1;
  if (mapped) {
    PidNsMap map{};
    CKPT_CHECK(take(RecordType::pid_ns_map, map));
    if (map.nr_pids != count) return bad("nr_pids is not that of PIDS");
    CKPT_CHECK(advance());
    if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
    if (record_.payload.size() != count * 4)
      return bad("length " + std::to_string(record_.payload.size() + 8) + " does not hold " +
                 std::to_string(count) + " entries");
    image_.pid_ns.resize(count);
  }
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t ns = 0;
    if (mapped) ns = image_.pid_ns[i] = load32(record_.payload.data() + i * 4);
    if (ns >= image_.namespaces.size())
      return bad("pid " + std::to_string(i) + ": there is no namespace " + std::to_string(ns));
    if (image_.namespaces[ns].level != image_.pids.depth(i))
      return bad("pid " + std::to_string(i) + ": the level of namespace " + std::to_string(ns) +
                 " is not the pid's depth " + std::to_string(image_.pids.depth(i)));
  }
  if (mapped) return advance();
  return {};
}

// HEADER's feature bits are those of what followed. (Unknown ids are for those who know all ids;
// without memory that was announced, or repeated pages that were not, the reader has not come so
// far.)
Status ImageReader::check_features() {
  std::uint64_t used = 0;
  if (image_.namespaces.size() > 1) used |= kFeatureNestedNs;
  if (std::any_of(image_.objs.begin(), image_.objs.end(),
                  [](const TaskObjs& o) { return o.files_objref != 0; }))
    used |= kFeatureFiles;
  if (!image_.locks.empty()) used |= kFeatureLocks;
  if (!image_.pipe_bufs.empty() || !image_.socket_pairs.empty()) used |= kFeaturePipes;
  if (!image_.requests.empty()) used |= kFeatureRequests;
  if (!image_.process.spaces.empty()) used |= kFeatureSpaces;
  if (!image_.nodes.empty()) used |= kFeatureNodes;
  if (!image_.process.inodes.empty()) used |= kFeatureInodes;
  if (std::any_of(image_.process.threads.begin(), image_.process.threads.end(),
                  [](const ImageThread& t) { return t.placed(); }))
    used |= kFeaturePlacement;
  if (std::any_of(image_.process.mms.begin(), image_.process.mms.end(),
                  [](const ImageMm& mm) { return !mm.guards.empty(); }))
    used |= kFeatureGuards;
  if (!image_.process.sockets.empty()) used |= kFeatureSockets;
  const std::uint64_t said = image_.header.features &
                             ~std::uint64_t{kFeatureUnknownIds | kFeatureMemory | kFeatureRepeats};
  if (used == said) return {};
  return bad("HEADER gives the features: " + feature_names(said) +
             "; but the image uses: " + feature_names(used));
}

Status ImageReader::read_tail() {
  CKPT_CHECK(check_features());
  Tail tail{};
  CKPT_CHECK(take(RecordType::tail, tail));
  if (tail.magic != kTailMagic) return bad("the magic number of TAIL is wrong");
  CKPT_CHECK(advance());
  if (record_.type != 0) return bad("a record after TAIL");
  return {};
}

}  // namespace ckpt::format
