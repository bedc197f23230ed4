#include "cli/file_findings.h"

#include <algorithm>

namespace ckpt::cli {

bool ChangedFile::fatal() const {
  return std::any_of(findings.begin(), findings.end(), [](const auto& f) { return f.fatal; });
}

std::vector<ChangedFile> changed_files(const format::Image& image) {
  std::vector<ChangedFile> all;
  if (image.header.source != format::kSourceHost) return all;
  for (std::uint32_t i = 0; i < image.files.size(); ++i) {
    if (!host::is_reopened_by_path(image.files[i])) continue;
    auto findings = host::compare_file(image.files[i], host::look_at(image.files[i]));
    if (!findings.empty()) all.push_back({i, std::move(findings)});
  }
  return all;
}

}  // namespace ckpt::cli
