#include "cli/here_check.h"

#include <dirent.h>
#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <map>

#include "core/host/proc_fs.h"
#include "core/host/proc_text.h"

namespace ckpt::cli {

namespace {

using Holders = std::map<std::int32_t, std::string>;

// The entries of a /proc directory that are numbers.
std::vector<std::int32_t> numbers_in(const std::string& path) {
  std::vector<std::int32_t> all;
  DIR* dir = ::opendir(path.c_str());
  if (!dir) return all;
  while (const dirent* entry = ::readdir(dir)) {
    const std::string_view name = entry->d_name;
    std::int32_t nr = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), nr);
    if (error == std::errc() && end == name.data() + name.size()) all.push_back(nr);
  }
  ::closedir(dir);
  return all;
}

struct Stat {
  std::string comm;
  char state = 0;
  std::int32_t group = 0, session = 0;
};

// /proc/PID/stat (proc(5)); comm may hold blanks and brackets. False if the process is gone.
bool read_stat(const std::string& proc, std::int32_t pid, Stat* to) {
  const auto read = host::ProcFs(proc).read(std::to_string(pid) + "/stat");
  if (read.has_error()) return false;
  const std::string& text = read.value();
  const std::size_t open = text.find('('), close = text.rfind(')');
  if (open == text.npos || close == text.npos || close < open) return false;
  to->comm = text.substr(open + 1, close - open - 1);
  std::int32_t ppid = 0;
  return std::sscanf(text.c_str() + close + 1, " %c %d %d %d", &to->state, &ppid, &to->group,
                     &to->session) == 4;
}

// Who has which of the `wanted` (ascending) numbers.
Holders holders(const std::vector<std::int32_t>& wanted, const std::string& proc) {
  const auto is_wanted = [&](std::int32_t nr) {
    return std::binary_search(wanted.begin(), wanted.end(), nr);
  };
  Holders tasks, threads, ids;
  for (const std::int32_t pid : numbers_in(proc)) {
    const std::string folder = proc + "/" + std::to_string(pid);
    Stat stat;
    if (!read_stat(proc, pid, &stat)) continue;
    const std::string who = std::to_string(pid) + " (" + stat.comm + ")";
    if (is_wanted(pid)) tasks[pid] = (stat.state == 'Z' ? "zombie " : "process ") + who;
    for (const std::int32_t tid : numbers_in(folder + "/task"))
      if (tid != pid && is_wanted(tid)) threads[tid] = "a thread of " + who;
    if (is_wanted(stat.session))
      ids[stat.session] = "the session of " + who + ", whose leader is gone";
    if (is_wanted(stat.group) && !ids.contains(stat.group))
      ids[stat.group] = "the process group of " + who + ", whose leader is gone";
  }
  tasks.merge(threads);
  tasks.merge(ids);  // what has a task needs no other reason
  return tasks;
}

}  // namespace

std::vector<TakenNumber> taken_numbers(const format::Image& image, const std::string& proc) {
  std::vector<std::int32_t> wanted;
  for (std::size_t i = 0; i < image.pids.size(); ++i)
    if (image.pids.numbers(i)[0] > 0) wanted.push_back(image.pids.numbers(i)[0]);
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  Holders taken = holders(wanted, proc);
  std::int32_t pid_max = 0;
  std::ifstream(proc + "/sys/kernel/pid_max") >> pid_max;
  for (const std::int32_t nr : wanted) {
    if (taken.contains(nr)) continue;
    if (pid_max > 0 && nr >= pid_max)
      taken[nr] = "nobody, but it is not below pid_max, which is " + std::to_string(pid_max);
    else if (::kill(nr, 0) == 0 || errno == EPERM)
      taken[nr] = "a task that /proc does not show";
    else if (nr > 1 && (::kill(-nr, 0) == 0 || errno == EPERM))
      taken[nr] = "a process group that /proc does not show";
  }
  std::vector<TakenNumber> all;
  for (auto& [nr, by] : taken) all.push_back({nr, std::move(by)});
  return all;
}

}  // namespace ckpt::cli
