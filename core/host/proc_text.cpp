// Parsers of /proc/PID/stat, status, children and of lists of numbers. The text of fds is parsed in
// fd_text.cpp.
#include "core/host/proc_text.h"

#include <charconv>

#include "core/host/text_scan.h"

namespace ckpt::host {

namespace {

Error bad(const char* file, std::string detail) {
  return cannot(std::string("cannot understand /proc/PID/") + file, std::move(detail));
}

// comm as /proc/PID/status shows it: newline and backslash (and, before Linux 5.16, any white
// space) are escaped.
std::string unescape_comm(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\' || i + 1 == s.size()) {
      out += s[i];
      continue;
    }
    const char c = s[i + 1];
    const std::string_view from = "nrtvf\\", to = "\n\r\t\v\f\\";
    if (const auto at = from.find(c); at != std::string_view::npos) {
      out += to[at];
      ++i;
    } else if (unsigned value = 0;
               i + 3 < s.size() && scan_base(s.substr(i + 1, 3), value, 8) && value < 256) {
      out += static_cast<char>(value);
      i += 3;
    } else {
      out += s[i];
    }
  }
  return out;
}

bool scan_pids(std::string_view text, std::vector<pid_t>& out) {
  out.clear();
  while (const auto word = next_word(text)) {
    pid_t pid = 0;
    if (!scan(*word, pid) || pid < 0) return false;
    out.push_back(pid);
  }
  return true;
}

bool scan_pid(std::string_view text, pid_t& out) {
  return scan(text, out) && out >= 0;
}

// The kernel's letter for a task's state.
bool scan_state(std::string_view text, char& out) {
  if (text.size() != 1) return false;
  out = text[0];
  return (out >= 'A' && out <= 'Z') || (out >= 'a' && out <= 'z');
}

bool scan_mask(std::string_view text, std::optional<std::uint64_t>& out) {
  std::uint64_t mask = 0;
  if (!scan_base(text, mask, 16)) return false;
  out = mask;
  return true;
}

bool scan_ids(std::string_view text, std::array<std::uint32_t, 4>& out) {
  for (auto& id : out) {
    const auto word = next_word(text);
    if (!word || !scan(*word, id)) return false;
  }
  return !next_word(text);
}

// One line of status. False if the value of a known key makes no sense.
bool status_line(std::string_view key, std::string_view raw, ProcStatus& s) {
  const std::string_view value = trim(raw);
  if (key == "Name") {
    s.name = unescape_comm(raw.starts_with('\t') ? raw.substr(1) : raw);
    return true;
  }
  if (key == "State") return scan_state(value.substr(0, value.find(' ')), s.state);
  if (key == "Tgid") return scan_pid(value, s.tgid);
  if (key == "Pid") return scan_pid(value, s.pid);
  if (key == "PPid") return scan_pid(value, s.ppid);
  if (key == "TracerPid") return scan_pid(value, s.tracer_pid);
  if (key == "NStgid") return scan_pids(value, s.ns_tgid);
  if (key == "NSpid") return scan_pids(value, s.ns_pid);
  if (key == "NSpgid") return scan_pids(value, s.ns_pgid);
  if (key == "NSsid") return scan_pids(value, s.ns_sid);
  if (key == "Threads") return scan_pid(value, s.threads);
  if (key == "SigPnd") return scan_mask(value, s.sig_pnd);
  if (key == "ShdPnd") return scan_mask(value, s.shd_pnd);
  if (key == "SigBlk") return scan_mask(value, s.sig_blk);
  if (key == "SigIgn") return scan_mask(value, s.sig_ign);
  if (key == "SigCgt") return scan_mask(value, s.sig_cgt);
  if (key == "Umask") return scan_base(value, s.umask.emplace(), 8);
  if (key == "Uid") return scan_ids(value, s.uid);
  if (key == "Gid") return scan_ids(value, s.gid);
  if (key == "Seccomp") return scan(value, s.seccomp.emplace());
  int flag = 0;
  if (key == "NoNewPrivs") return scan(value, flag) && (s.no_new_privs = flag != 0, true);
  if (key == "Kthread") return scan(value, flag) && (s.kthread = flag != 0, true);
  return true;
}

std::uint64_t* field_of(MemoryBounds& m, int field) {
  constexpr std::uint64_t MemoryBounds::*kFrom26[] = {
      &MemoryBounds::start_code, &MemoryBounds::end_code, &MemoryBounds::start_stack};
  constexpr std::uint64_t MemoryBounds::*kFrom45[] = {
      &MemoryBounds::start_data, &MemoryBounds::end_data, &MemoryBounds::start_brk,
      &MemoryBounds::arg_start,  &MemoryBounds::arg_end,  &MemoryBounds::env_start,
      &MemoryBounds::env_end};
  if (field >= 26 && field <= 28) return &(m.*kFrom26[field - 26]);
  if (field >= 45 && field <= 51) return &(m.*kFrom45[field - 45]);
  return nullptr;
}

}  // namespace

Result<ProcStat> parse_stat(std::string_view text) {
  const auto open = text.find('(');
  const auto close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return bad("stat", "no (comm)");
  ProcStat s;
  if (!scan_pid(trim(text.substr(0, open)), s.pid)) return bad("stat", "no pid");
  s.comm = text.substr(open + 1, close - open - 1);
  std::string_view rest = text.substr(close + 1);
  for (int field = 3; field <= 52; ++field) {
    const auto word = next_word(rest);
    if (!word) return bad("stat", "ends before field " + std::to_string(field));
    bool ok = true;
    switch (field) {
      case 3:
        ok = scan_state(*word, s.state);
        break;
      case 4:
        ok = scan_pid(*word, s.ppid);
        break;
      case 5:
        ok = scan_pid(*word, s.pgrp);
        break;
      case 6:
        ok = scan_pid(*word, s.session);
        break;
      case 7:
        ok = scan(*word, s.tty_nr);
        break;
      case 8:
        ok = scan(*word, s.tpgid);
        break;
      case 9:
        ok = scan(*word, s.flags);
        break;
      case 20:
        ok = scan_pid(*word, s.num_threads);
        break;
      case 22:
        ok = scan(*word, s.start_time);
        break;
      case 38:
        ok = scan(*word, s.exit_signal);
        break;
      case 52:
        ok = scan(*word, s.exit_code);
        break;
      default:
        if (std::uint64_t* const bound = field_of(s.memory, field)) ok = scan(*word, *bound);
        break;
    }
    if (!ok)
      return bad("stat", "field " + std::to_string(field) + " is \"" +
                             std::string(word->substr(0, 40)) + "\"");
  }
  return s;
}

Result<ProcStatus> parse_status(std::string_view text) {
  ProcStatus s;
  enum : unsigned { name = 1, state = 2, tgid = 4, pid = 8, ppid = 16, all = 31 };
  unsigned seen = 0;
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = line.substr(0, colon);
    if (!status_line(key, line.substr(colon + 1), s))
      return bad("status", "value of " + std::string(key.substr(0, 40)));
    if (key == "Name") seen |= name;
    if (key == "State") seen |= state;
    if (key == "Tgid") seen |= tgid;
    if (key == "Pid") seen |= pid;
    if (key == "PPid") seen |= ppid;
  }
  if (seen != all) {
    constexpr const char* keys[] = {"Name", "State", "Tgid", "Pid", "PPid"};
    int missing = 0;
    while (seen & (1U << missing)) ++missing;
    return bad("status", std::string("no ") + keys[missing]);
  }
  return s;
}

Result<std::vector<pid_t>> parse_children(std::string_view text) {
  std::vector<pid_t> pids;
  if (!scan_pids(text, pids)) return bad("task/TID/children", "not a list of pids");
  return pids;
}

std::optional<std::int32_t> parse_dir_number(std::string_view name) {
  std::int32_t n = 0;
  if (name.empty() || (name[0] == '0' && name.size() > 1) || name[0] == '-') return {};
  if (!scan(name, n)) return {};
  return n;
}

}  // namespace ckpt::host
