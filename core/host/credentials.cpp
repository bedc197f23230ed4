// Credentials as /proc/PID/status shows them.
#include "core/host/proc_text.h"
#include "core/host/process_state.h"
#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

// The number after `key` in a text of "Key: value" lines; nullopt if it is not there.
std::optional<std::uint64_t> number_after(std::string_view text, std::string_view key, int base) {
  while (!text.empty()) {
    std::string_view line = next_line(text);
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    std::uint64_t value = 0;
    const auto word = next_word(line);
    if (word && scan_base(*word, value, base)) return value;
  }
  return {};
}

}  // namespace

Result<format::ImageCred> parse_credentials(std::string_view text) {
  CKPT_TRY(const ProcStatus status, parse_status(text));
  format::ImageCred out;
  format::Cred& c = out.cred;
  c.uid = status.uid[0];
  c.euid = status.uid[1];
  c.suid = status.uid[2];
  c.fsuid = status.uid[3];
  c.gid = status.gid[0];
  c.egid = status.gid[1];
  c.sgid = status.gid[2];
  c.fsgid = status.gid[3];
  c.no_new_privs = status.no_new_privs.value_or(false) ? 1 : 0;
  c.cap_inheritable = number_after(text, "CapInh:", 16).value_or(0);
  c.cap_permitted = number_after(text, "CapPrm:", 16).value_or(0);
  c.cap_effective = number_after(text, "CapEff:", 16).value_or(0);
  c.cap_bounding = number_after(text, "CapBnd:", 16).value_or(0);
  c.cap_ambient = number_after(text, "CapAmb:", 16).value_or(0);
  std::string_view rest = text;
  while (!rest.empty()) {
    std::string_view line = next_line(rest);
    if (!line.starts_with("Groups:")) continue;
    line.remove_prefix(7);
    while (const auto word = next_word(line)) {
      std::uint32_t gid = 0;
      if (scan(*word, gid)) out.groups.emplace_back(gid);
    }
  }
  c.nr_groups = static_cast<std::uint32_t>(out.groups.size());
  return out;
}

}  // namespace ckpt::host
