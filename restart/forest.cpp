#include "restart/forest.h"

namespace ckpt::restart {

using format::Image;

namespace {

Error bad(std::size_t entry, const std::string& detail) {
  return damaged("the image is of no possible machine",
                 "TREE entry " + std::to_string(entry) + ": " + detail);
}

std::string ref_text(std::int32_t ref) {
  return std::to_string(ref);
}

// A group or session reference; false if it is neither a pid object nor a special value.
bool resolve_id(const Image& image, std::int32_t ref, Id& id) {
  if (ref == format::kRefInvisible)
    id = kInvisible;
  else if (ref == format::kRefOutside)
    id = kOutside;
  else if (image.pids.contains(ref))
    id = static_cast<Id>(image.pids.index(ref));
  else
    return false;
  return true;
}

Status resolve_namespaces(const Image& image, Forest& f) {
  const auto fail = [](std::size_t n, const std::string& detail) {
    return damaged("the image is of no possible machine",
                   "PID_NS " + std::to_string(n) + ": " + detail);
  };
  const auto& list = image.namespaces;
  if (list.empty()) return damaged("the image is of no possible machine", "no PID_NS record");
  const std::int32_t first = list[0].objref;
  f.ns_parent.resize(list.size());
  f.ns_init.assign(list.size(), kNoTask);
  for (std::size_t n = 0; n < list.size(); ++n) {
    if (list[n].objref != static_cast<std::int64_t>(first) + static_cast<std::int64_t>(n))
      return fail(n, "objref " + ref_text(list[n].objref) + " is not the next one");
    if (n == 0) {
      if (list[0].parent != 0 || list[0].level != 0)
        return fail(0, "the root namespace has a parent or a level");
      continue;
    }
    const std::int64_t p = static_cast<std::int64_t>(list[n].parent) - first;
    if (p < 0 || p >= static_cast<std::int64_t>(n))
      return fail(n, "its parent " + ref_text(list[n].parent) + " is no earlier namespace");
    f.ns_parent[n] = static_cast<std::uint32_t>(p);
    if (list[n].level != list[static_cast<std::size_t>(p)].level + 1)
      return fail(n, "its level is not one below its parent's");
  }
  if (!image.pid_ns.empty() && image.pid_ns.size() != image.pids.size())
    return damaged("the image is of no possible machine", "PID_NS_MAP is not as long as PIDS");
  for (std::size_t i = 0; i < image.pids.size(); ++i) {
    const std::uint32_t ns = image.ns_of(i);
    if (ns >= list.size() || list[ns].level != image.pids.depth(i))
      return damaged("the image is of no possible machine",
                     "pid " + numbers_text(image, i) +
                         ": its depth is not the level of its innermost namespace");
  }
  return {};
}

Status resolve_entry(const Image& image, Forest& f, std::uint32_t i) {
  const format::TreeEntry& e = image.tree[i];
  const auto& pids = image.pids;
  if (!pids.contains(e.pid)) return bad(i, "pid " + ref_text(e.pid) + " is no pid object");
  if (!pids.contains(e.tgid)) return bad(i, "tgid " + ref_text(e.tgid) + " is no pid object");
  f.pid[i] = static_cast<std::uint32_t>(pids.index(e.pid));
  std::uint32_t& user = f.task[f.pid[i]];
  if (user != kNoTask)
    return bad(i, "pid " + numbers_text(image, f.pid[i]) + " is that of an earlier task too");
  user = i;
  f.leader[i] = f.task[pids.index(e.tgid)];
  if (f.leader[i] == kNoTask || f.leader[f.leader[i]] != f.leader[i])
    return bad(i, "tgid " + numbers_text(image, pids.index(e.tgid)) + " is no earlier leader");
  if (!resolve_id(image, e.pgid, f.pgid[i]))
    return bad(i, "process group " + ref_text(e.pgid) + " is no pid object");
  if (!resolve_id(image, e.sid, f.sid[i]))
    return bad(i, "session " + ref_text(e.sid) + " is no pid object");
  if (e.ppid == format::kRefInvisible) {
    f.parent[i] = kNoTask;
    if (f.leader[i] != 0) return bad(i, "no parent, but it is not the root task");
    return {};
  }
  if (!pids.contains(e.ppid)) return bad(i, "parent " + ref_text(e.ppid) + " is no pid object");
  f.parent[i] = f.task[pids.index(e.ppid)];
  if (f.parent[i] == kNoTask || f.parent[i] == i || f.leader[f.parent[i]] != f.parent[i])
    return bad(i, "its parent is no earlier process");
  if (f.leader[i] == 0) return bad(i, "the root task has a parent");
  return {};
}

}  // namespace

Result<Forest> make_forest(const Image& image) {
  Forest f;
  const std::size_t n = image.tree.size();
  if (n == 0) return damaged("the image is of no possible machine", "no task");
  if (n >= (1U << 29) || image.pids.size() >= (1U << 29))
    return damaged("the image is of no possible machine", "more tasks than numbers");
  if (image.tasks.size() != n || image.comms.size() != n || image.objs.size() != n)
    return damaged("the image is of no possible machine", "not one TASK for each TREE entry");
  CKPT_CHECK(resolve_namespaces(image, f));
  for (auto* v : {&f.parent, &f.leader, &f.end, &f.pid}) v->resize(n);
  f.pgid.resize(n);
  f.sid.resize(n);
  f.task.assign(image.pids.size(), kNoTask);
  // `open`: the process whose subtree the next entry may still be in.
  std::uint32_t open = kNoTask;
  for (std::uint32_t i = 0; i < n; ++i) {
    CKPT_CHECK(resolve_entry(image, f, i));
    if (f.leader[i] != i) {
      if (f.leader[i] != open || f.leader[i - 1] != f.leader[i])
        return bad(i, "a thread does not stand behind its leader");
      f.end[i] = i + 1;
      continue;
    }
    while (open != f.parent[i]) {
      if (open == kNoTask) return bad(i, "it stands outside of its parent's subtree");
      f.end[open] = i;
      open = f.parent[open];
    }
    open = i;
    const std::uint32_t ns = image.ns_of(f.pid[i]);
    if (image.pids.numbers(f.pid[i]).back() == 1) f.ns_init[ns] = i;
  }
  for (; open != kNoTask; open = f.parent[open]) f.end[open] = static_cast<std::uint32_t>(n);
  return f;
}

std::string numbers_text(const Image& image, std::size_t pid) {
  std::string s;
  for (const std::int32_t nr : image.pids.numbers(pid)) {
    if (!s.empty()) s += '/';
    s += nr == format::kNrUnknown ? "?" : std::to_string(nr);
  }
  return s;
}

std::string task_text(const Image& image, const Forest& forest, std::size_t task) {
  std::string s = numbers_text(image, forest.pid[task]);
  s += " (";
  s += image.comm(task);
  return s + ')';
}

std::string id_text(const Image& image, Id id) {
  if (id == kInvisible) return "invisible";
  if (id == kOutside) return "outside";
  return id < 0 ? "any" : numbers_text(image, static_cast<std::size_t>(id));
}

std::int32_t number_in(const Image& image, const Forest& forest, std::size_t pid,
                       std::uint32_t ns) {
  if (!forest.ns_within(image.ns_of(pid), ns)) return 0;
  return image.pids.numbers(pid)[image.namespaces[ns].level];
}

}  // namespace ckpt::restart
