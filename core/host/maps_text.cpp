#include "core/host/maps_text.h"

#include <sys/mman.h>

#include <algorithm>

#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

Error not_understood(std::string_view line) {
  return cannot("cannot read the mappings",
                "a line is not understood: \"" + std::string(line.substr(0, 80)) + "\"");
}

// "00400000-0048a000"
bool scan_range(std::string_view word, Mapping& m) {
  const auto dash = word.find('-');
  return dash != std::string_view::npos && scan_base(word.substr(0, dash), m.start, 16) &&
         scan_base(word.substr(dash + 1), m.end, 16) && m.start < m.end;
}

// "fe:00"
bool scan_device(std::string_view word, Mapping& m) {
  const auto colon = word.find(':');
  return colon != std::string_view::npos && scan_base(word.substr(0, colon), m.dev_major, 16) &&
         scan_base(word.substr(colon + 1), m.dev_minor, 16);
}

// The kernel writes a line feed in a name as \012.
std::string unescape_name(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name.substr(i, 4) == "\\012") {
      out += '\n';
      i += 3;
    } else {
      out += name[i];
    }
  }
  return out;
}

bool scan_head(std::string_view line, Mapping& m) {
  const auto range = next_word(line), permissions = next_word(line), offset = next_word(line),
             device = next_word(line), inode = next_word(line);
  if (!inode || permissions->size() != 4 || !scan_range(*range, m) ||
      !scan_base(*offset, m.offset, 16) || !scan_device(*device, m) || !scan(*inode, m.ino))
    return false;
  if ((*permissions)[0] == 'r') m.protection |= PROT_READ;
  if ((*permissions)[1] == 'w') m.protection |= PROT_WRITE;
  if ((*permissions)[2] == 'x') m.protection |= PROT_EXEC;
  m.shared = (*permissions)[3] == 's';
  const auto first = line.find_first_not_of(' ');
  m.name = first == std::string_view::npos ? std::string() : unescape_name(line.substr(first));
  constexpr std::string_view kDeleted = " (deleted)";
  if (m.name.size() > kDeleted.size() && m.name.ends_with(kDeleted)) {
    m.deleted = true;
    m.name.resize(m.name.size() - kDeleted.size());
  }
  return true;
}

// "Anonymous:            12 kB"
bool is_some(std::string_view line, std::string_view name) {
  return line.starts_with(name) && line.find_first_of("123456789", name.size()) != line.npos;
}

void scan_detail(std::string_view line, Mapping& m) {
  constexpr std::string_view kFlags = "VmFlags:";
  if (line.starts_with(kFlags))
    m.flags = trim(line.substr(kFlags.size()));
  else if (is_some(line, "Anonymous:") || is_some(line, "Swap:"))
    m.has_own = true;
}

}  // namespace

bool Mapping::has(std::string_view flag) const {
  std::string_view rest = flags;
  while (const auto word = next_word(rest))
    if (*word == flag) return true;
  return false;
}

bool Mapping::is_kernels() const {
  return name == "[vdso]" || name.starts_with("[vvar") || name == "[vsyscall]";
}

Result<std::vector<Mapping>> parse_smaps(std::string_view text) {
  std::vector<Mapping> out;
  while (!text.empty()) {
    std::string_view line = next_line(text);
    if (line.empty()) continue;
    // A head begins with an address in lower case, a detail with a name.
    if (line[0] >= 'A' && line[0] <= 'Z') {
      if (out.empty()) return not_understood(line);
      scan_detail(line, out.back());
      continue;
    }
    Mapping m;
    if (!scan_head(line, m)) return not_understood(line);
    if (!out.empty() && m.start < out.back().end) return not_understood(line);
    out.push_back(std::move(m));
  }
  return out;
}

}  // namespace ckpt::host
