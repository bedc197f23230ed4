#include "core/fs.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace ckpt::core {

namespace {

constexpr std::string_view kUnknownPlace = ".";
constexpr std::string_view kSomewhere = "...";

Ref<Dentry> make_dentry(Dentry* parent, std::string_view name, Ref<Inode> inode) {
  Ref<Dentry> entry = new Dentry;
  entry->parent = parent;
  entry->name = name;
  entry->inode = std::move(inode);
  return entry;
}

}  // namespace

std::string path_of(const Dentry& entry) {
  const std::lock_guard guard(names_lock());
  std::vector<std::string_view> names;
  for (const Dentry* d = &entry; d; d = d->parent.get())
    if (d->parent || d->name != kUnknownPlace) names.push_back(d->name);
  std::string path;
  for (auto name = names.rbegin(); name != names.rend(); ++name) {
    if (name != names.rbegin()) path += '/';
    path += *name;
  }
  const bool is_root = !entry.parent && entry.name.empty();
  return is_root ? "/" : path;
}

bool is_placed(const Dentry& entry) {
  const Dentry* top = &entry;
  while (top->parent) top = top->parent.get();
  return top->name != kUnknownPlace && top->name != kSomewhere;
}

// The directories that are not known are not numbered, for nothing is known of them.
FileSystem::FileSystem()
    : root_(make_dentry(nullptr, "", new Inode)),
      unknown_place_(make_dentry(nullptr, kUnknownPlace, new Inode)) {
  root_->inode->mode = unknown_place_->inode->mode = kModeDirectory;
}

// Directories and what is in them hold each other.
FileSystem::~FileSystem() {
  for (const Ref<Dentry>& dir : not_empty_) dir->children.clear();
}

void FileSystem::put_in(Dentry& dir, std::string_view name, Ref<Dentry> entry) {
  if (dir.children.empty()) not_empty_.insert(&dir);
  const bool is_new = dir.children.emplace(name, std::move(entry)).second;
  CKPT_ASSERT(is_new);
}

void FileSystem::take_out(Dentry& dir, std::string_view name) {
  if (const auto at = dir.children.find(name); at != dir.children.end()) dir.children.erase(at);
  if (dir.children.empty()) not_empty_.erase(&dir);
}

Ref<Inode> FileSystem::new_inode(std::uint32_t mode) {
  Ref<Inode> inode = new Inode;
  inode->mode = mode;
  inode->ino = ++last_ino_;
  return inode;
}

Ref<Dentry> FileSystem::new_root() {
  return make_dentry(nullptr, kSomewhere, new_inode(kModeDirectory));
}

Ref<Dentry> FileSystem::apart(std::string_view name, Ref<Inode> inode, bool removed) {
  Ref<Dentry> entry = make_dentry(nullptr, name, std::move(inode));
  entry->removed = removed;
  return entry;
}

Dentry& FileSystem::add(Dentry& dir, std::string_view name, Ref<Inode> inode) {
  const Ref<Dentry> entry = make_dentry(&dir, name, std::move(inode));
  put_in(dir, name, entry);
  return *entry;
}

void FileSystem::remove(Dentry& entry) {
  CKPT_ASSERT(entry.parent && !entry.removed);
  const Ref<Dentry> keep = &entry;
  entry.removed = true;
  take_out(*entry.parent, entry.name);
}

void FileSystem::move(Dentry& entry, Dentry& dir, std::string_view name) {
  CKPT_ASSERT(entry.parent && !entry.removed);
  const Ref<Dentry> keep = &entry, from = entry.parent;
  const std::lock_guard guard(names_lock());
  take_out(*from, entry.name);
  entry.parent = &dir;
  entry.name = name;
  put_in(dir, name, keep);
}

void FileSystem::exchange(Dentry& a, Dentry& b) {
  const std::lock_guard guard(names_lock());
  std::swap(a.parent->children.at(a.name), b.parent->children.at(b.name));
  std::swap(a.parent, b.parent);
  std::swap(a.name, b.name);
}

namespace {
// As path_of() would give it.
bool is_plain(std::string_view path) {
  if (path == "/") return true;
  return !path.empty() && !path.ends_with('/') && path.find("//") == std::string_view::npos;
}
}  // namespace

Ref<Dentry> FileSystem::enter(std::string_view path, const Ref<Inode>& inode, bool removed) {
  // Of the directories above nothing is told, not even a number.
  const auto given_or_directory = [](const Ref<Inode>& given) {
    if (given) return given;
    Ref<Inode> unnumbered = new Inode;
    unnumbered->mode = kModeDirectory;
    return unnumbered;
  };
  if (!is_plain(path) || (path == "/" && removed))
    return apart(path, given_or_directory(inode), removed);
  Ref<Dentry> here = path.starts_with('/') ? root_ : unknown_place_;
  if (path.starts_with('/')) path.remove_prefix(1);
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(name.size() + 1, path.size()));
    const bool last = path.empty();
    const auto found = here->children.find(name);
    Dentry* entry = found == here->children.end() ? nullptr : found->second.get();
    if (last && entry && inode && !removed && entry->inode->ino == 0) entry->inode = inode;
    if (last && (removed || (entry && inode && entry->inode != inode))) {
      here = make_dentry(here.get(), name, given_or_directory(inode));
      here->removed = removed;
    } else {
      here = entry ? entry : &add(*here, name, given_or_directory(last ? inode : nullptr));
    }
  }
  return here;
}

}  // namespace ckpt::core
