#include "cli/file_findings.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

namespace ckpt::cli {

bool ChangedFile::fatal() const {
  return std::any_of(findings.begin(), findings.end(), [](const auto& f) { return f.fatal; });
}

namespace {

// A deleted file whose contents are in the image needs nothing but a place.
std::vector<host::FileFinding> find_place(const format::ImageInode& inode) {
  if (inode.inode.kind != format::kInodeDeleted) return {};
  const std::string directory =
      inode.name.substr(0, std::max<std::size_t>(inode.name.rfind('/'), 1));
  if (::faccessat(AT_FDCWD, (directory + "/.").c_str(), W_OK | X_OK, AT_EACCESS) == 0) return {};
  return {{host::FileChange::deleted,
           false,
           {},
           {},
           "it will be in memory: " + directory + ": " + std::strerror(errno)}};
}

}  // namespace

std::vector<ChangedFile> changed_files(const format::Image& image) {
  std::vector<ChangedFile> all;
  if (image.header.source != format::kSourceHost) return all;
  std::map<std::int32_t, const format::ImageInode*> inode_of;
  for (const format::ImageInode& inode : image.process.inodes)
    for (const std::int32_t file : inode.files) inode_of[file] = &inode;
  for (std::uint32_t i = 0; i < image.files.size(); ++i) {
    if (const auto inode = inode_of.find(image.files[i].ref); inode != inode_of.end()) {
      auto findings = find_place(*inode->second);
      if (!findings.empty()) all.push_back({i, std::move(findings)});
      continue;
    }
    if (!host::is_reopened_by_path(image.files[i])) continue;
    auto findings = host::compare_file(image.files[i], host::look_at(image.files[i]));
    if (!findings.empty()) all.push_back({i, std::move(findings)});
  }
  return all;
}

}  // namespace ckpt::cli
