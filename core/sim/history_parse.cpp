// The process calls of a log, from text to numbers; the table of all calls the model knows.
#include <algorithm>
#include <string>
#include <unordered_map>

#include "core/sim/history_parse.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

namespace {

using Args = std::vector<std::string_view>;

void keep_translation(std::int64_t nr, std::int64_t outer, Log& log) {
  if (nr < 1 || nr > core::kPidMax || outer < 1 || outer > core::kPidMax) return;
  log.translations.push_back({static_cast<Nr>(nr), static_cast<Nr>(outer)});
}

void parse_fork(const LogLine&, Call& call, Log&) {
  call.a[1] = kSigChld;
}

void parse_vfork(const LogLine&, Call& call, Log&) {
  call.a[0] = kCloneVm | kCloneVfork;
  call.a[1] = kSigChld;
}

void parse_clone(const LogLine& line, Call& call, Log&) {
  const auto flags = named_arg(line.args, "flags");
  const std::string_view text = flags.value_or("SIGCHLD");
  call.a[0] = static_cast<std::int64_t>(flags_value(text, clone_flags()) & ~std::uint64_t{0xff});
  for (const std::string_view flag : parse_flags(text)) {
    if (flag.starts_with("SIG")) call.a[1] = signal_number(flag);
    // The lowest byte may hold what is no signal.
    if (const auto n = parse_integer(flag); n && *n > 0 && *n <= 0xff) call.a[1] = *n;
  }
}

void parse_clone3(const LogLine& line, Call& call, Log&) {
  if (line.args.empty()) return;
  const std::string_view given = split_in_out(line.args[0]).first;
  if (const auto flags = struct_field(given, "flags"))
    call.a[0] = static_cast<std::int64_t>(flags_value(*flags, clone_flags()));
  if (const auto signal = struct_field(given, "exit_signal")) call.a[1] = signal_number(*signal);
}

void parse_unshare(const LogLine& line, Call& call, Log&) {
  call.a[0] = static_cast<std::int64_t>(flags_value(text_arg(line, 0), clone_flags()));
}

void parse_setns(const LogLine& line, Call& call, Log&) {
  call.a[0] = fd_arg(line, 0);
  call.a[1] = static_cast<std::int64_t>(flags_value(text_arg(line, 1), clone_flags()));
}

std::string_view base_name(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

void parse_execve(const LogLine& line, Call& call, Log& log) {
  const auto path = parse_string(text_arg(line, 0));
  call.text = keep(log, base_name(path ? path->bytes : ""));
}

void parse_execveat(const LogLine& line, Call& call, Log& log) {
  const auto path = parse_string(text_arg(line, 1));
  std::string name = path ? path->bytes : "";
  const auto fd = parse_fd(text_arg(line, 0));
  if (name.empty() && fd) {
    name = fd->path();
    if (name.empty()) name = std::to_string(fd->number);
  }
  call.text = keep(log, base_name(name));
}

void parse_exit(const LogLine& line, Call& call, Log&) {
  call.a[0] = (int_arg(line, 0).value_or(0) & 0xff) << 8;
}

// `[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]`
std::int64_t wait_status(std::string_view text) {
  if (const auto code = after_macro(text, "WEXITSTATUS"))
    return (parse_integer(trim(*code)).value_or(0) & 0xff) << 8;
  if (const auto signal = after_macro(text, "WTERMSIG"))
    return signal_number(trim(*signal)) | (after_macro(text, "WCOREDUMP") ? 0x80 : 0);
  if (const auto signal = after_macro(text, "WSTOPSIG"))
    return signal_number(trim(*signal)) << 8 | kWaitStopped;
  if (after_macro(text, "WIFCONTINUED")) return kWaitContinuedStatus;
  return -1;
}

void parse_wait4(const LogLine& line, Call& call, Log& log) {
  call.a[0] = pid_number(text_arg(line, 0), log);
  call.a[1] = static_cast<std::int64_t>(flags_value(text_arg(line, 2), wait_flags()));
  call.a[2] = wait_status(text_arg(line, 1));
  call.a[3] = kAnyChild;
  if (call.result == 0) call.op = Op::none;  // WNOHANG: nothing to tell, nothing changed
}

// si_status is a number for CLD_EXITED, a signal's name else.
std::int64_t siginfo_status(std::string_view info) {
  const std::string_view code = struct_field(info, "si_code").value_or("");
  const std::string_view status = struct_field(info, "si_status").value_or("");
  if (code == "CLD_EXITED") return (parse_integer(status).value_or(0) & 0xff) << 8;
  const int signal = signal_number(status);
  if (code == "CLD_KILLED") return signal;
  if (code == "CLD_DUMPED") return signal | 0x80;
  if (code == "CLD_STOPPED") return signal << 8 | kWaitStopped;
  return code == "CLD_CONTINUED" ? kWaitContinuedStatus : -1;
}

void parse_waitid(const LogLine& line, Call& call, Log& log) {
  const std::string_view type = text_arg(line, 0);
  call.a[0] = pid_number(text_arg(line, 1), log);
  call.a[1] = static_cast<std::int64_t>(flags_value(text_arg(line, 3), wait_flags()));
  call.a[3] = type == "P_PID"    ? static_cast<std::int64_t>(IdType::pid)
              : type == "P_PGID" ? static_cast<std::int64_t>(IdType::pgid)
              : type == "P_ALL"  ? static_cast<std::int64_t>(IdType::all)
                                 : kAnyChild;
  if (type == "P_PIDFD") call.a[0] = 0;
  call.a[2] = -1;
  if (call.result != 0) return;
  const std::string_view info = text_arg(line, 2);
  call.a[2] = siginfo_status(info);
  call.result = pid_number(struct_field(info, "si_pid").value_or("0"), log);
  if (call.result == 0) call.op = Op::none;
}

void parse_pids(const LogLine& line, Call& call, Log& log) {
  call.a[0] = line.args.empty() ? 0 : pid_number(text_arg(line, 0), log);
  call.a[1] = line.args.size() < 2 ? 0 : pid_number(text_arg(line, 1), log);
}

void parse_prctl(const LogLine& line, Call& call, Log& log) {
  call.op = Op::none;
  if (text_arg(line, 0) == "PR_SET_CHILD_SUBREAPER") {
    call.op = Op::subreaper;
    call.a[0] = int_arg(line, 1).value_or(1) != 0;
  } else if (text_arg(line, 0) == "PR_SET_NAME") {
    call.op = Op::set_name;
    const auto name = parse_string(text_arg(line, 1));
    if (!name) call.op = Op::none;
    call.text = keep(log, name ? name->bytes : "");
  }
}

void parse_migrate(const LogLine& line, Call& call, Log& log) {
  const auto node = parse_string(text_arg(line, 0));
  call.text = keep(log, node ? node->bytes : "");
  auto which = Kernel::Movers::caller;
  if (line.args.size() > 1) {
    which = line.args.size() > 2 ? Kernel::Movers::tree : Kernel::Movers::who;
    call.a[0] = pid_number(text_arg(line, 1), log);
  }
  const bool known = line.args.size() < 3 || text_arg(line, 2) == "MIGRATE_TREE";
  call.a[1] = known ? static_cast<std::int64_t>(which) : -1;
}

void parse_kill(const LogLine& line, Call& call, Log& log) {
  const bool thread = line.name != "kill";
  const std::size_t at = line.name == "tgkill" ? 1 : 0;
  call.a[0] = pid_number(text_arg(line, at), log);
  call.a[1] = signal_number(text_arg(line, at + 1));
  call.a[2] = thread;
}

// Requests that change nothing of the model are passed over.
void parse_ptrace(const LogLine& line, Call& call, Log& log) {
  constexpr std::pair<std::string_view, long> kRequests[] = {
      {"PTRACE_TRACEME", kPtraceTraceme},
      {"PTRACE_CONT", kPtraceCont},
      {"PTRACE_KILL", kPtraceKill},
      {"PTRACE_ATTACH", kPtraceAttach},
      {"PTRACE_DETACH", kPtraceDetach},
      {"PTRACE_SYSCALL", kPtraceSyscall},
      {"PTRACE_SETOPTIONS", kPtraceSetOptions},
      {"PTRACE_SEIZE", kPtraceSeize},
      {"PTRACE_INTERRUPT", kPtraceInterrupt}};
  constexpr FlagName kOptions[] = {{"PTRACE_O_EXITKILL", kPtraceExitKill}};
  const auto* const known =
      std::ranges::find(kRequests, text_arg(line, 0), &std::pair<std::string_view, long>::first);
  if (known == std::end(kRequests)) {
    call.op = Op::none;
    return;
  }
  call.a[0] = known->second;
  call.a[1] = pid_number(text_arg(line, 1), log);
  const std::string_view data = text_arg(line, 3);
  const bool has_options = call.a[0] == kPtraceSeize || call.a[0] == kPtraceSetOptions;
  call.a[2] = has_options ? static_cast<std::int64_t>(flags_value(data, kOptions) & kPtraceExitKill)
                          : signal_number(data);
}

void parse_sigaction(const LogLine& line, Call& call, Log&) {
  const std::string_view act = text_arg(line, 1);
  const auto handler = struct_field(act, "sa_handler");
  if (text_arg(line, 0) != "SIGCHLD" || !handler) {
    call.op = Op::none;
    return;
  }
  const bool ignored = *handler == "SIG_IGN";
  const bool no_wait = has_flag(struct_field(act, "sa_flags").value_or(""), "SA_NOCLDWAIT");
  call.a[0] = ignored || no_wait;
  call.a[1] = no_wait && !ignored;
}

void parse_signal(const LogLine& line, Call& call, Log&) {
  if (text_arg(line, 0) != "SIGCHLD") call.op = Op::none;
  call.a[0] = text_arg(line, 1) == "SIG_IGN";
}

void parse_ioctl(const LogLine& line, Call& call, Log&) {
  const std::string_view request = text_arg(line, 1);
  call.op = request == "FIOCLEX" || request == "FIONCLEX" ? Op::set_cloexec : Op::none;
  call.a[0] = fd_arg(line, 0);
  call.a[1] = request == "FIOCLEX";
}

void parse_nothing(const LogLine&, Call&, Log&) {}

const std::unordered_map<std::string_view, Known>& table() {
  static const std::unordered_map<std::string_view, Known> known = [] {
    std::unordered_map<std::string_view, Known> all{
        {"fork", {Op::clone, parse_fork}},
        {"vfork", {Op::clone, parse_vfork}},
        {"clone", {Op::clone, parse_clone}},
        {"clone2", {Op::clone, parse_clone}},
        {"clone3", {Op::clone, parse_clone3}},
        {"unshare", {Op::unshare, parse_unshare}},
        {"setns", {Op::setns, parse_setns}},
        {"execve", {Op::execve, parse_execve}},
        {"execveat", {Op::execve, parse_execveat}},
        {"exit", {Op::exit, parse_exit}},
        {"_exit", {Op::exit, parse_exit}},
        {"exit_group", {Op::exit_group, parse_exit}},
        {"wait4", {Op::wait, parse_wait4, true}},
        {"waitpid", {Op::wait, parse_wait4, true}},
        {"waitid", {Op::wait, parse_waitid, true}},
        {"setsid", {Op::setsid, parse_nothing, true}},
        {"setpgid", {Op::setpgid, parse_pids, true}},
        {"getpgid", {Op::getpgid, parse_pids, true}},
        {"getpgrp", {Op::getpgid, parse_nothing}},
        {"getsid", {Op::getsid, parse_pids, true}},
        {"getpid", {Op::getpid, parse_nothing}},
        {"getppid", {Op::getppid, parse_nothing}},
        {"gettid", {Op::gettid, parse_nothing}},
        {"set_tid_address", {Op::gettid, parse_nothing}},
        {"prctl", {Op::subreaper, parse_prctl}},
        {"migrate", {Op::migrate, parse_migrate}},
        {"kill", {Op::kill, parse_kill, true}},
        {"tkill", {Op::kill, parse_kill, true}},
        {"tgkill", {Op::kill, parse_kill, true}},
        {"ptrace", {Op::ptrace, parse_ptrace}},
        {"rt_sigaction", {Op::sigchld, parse_sigaction}},
        {"sigaction", {Op::sigchld, parse_sigaction}},
        {"signal", {Op::sigchld, parse_signal}},
        {"ioctl", {Op::set_cloexec, parse_ioctl}},
    };
    add_file_calls(all);
    add_name_calls(all);
    for (auto& [name, call] : all) call.name = name.data();  // all are literals
    return all;
  }();
  return known;
}

}  // namespace

std::string_view text_arg(const LogLine& line, std::size_t i) {
  return i < line.args.size() ? line.args[i] : std::string_view();
}

std::optional<std::int64_t> int_of(std::string_view text) {
  return parse_integer(text);
}

std::optional<std::int64_t> int_arg(const LogLine& line, std::size_t i) {
  return parse_integer(text_arg(line, i));
}

std::int64_t fd_arg(const LogLine& line, std::size_t i) {
  const auto fd = parse_fd(text_arg(line, i));
  return fd ? fd->number : -1;
}

std::int64_t pid_number(std::string_view text, Log& log) {
  const auto pid = parse_pid(text);
  if (!pid) return int_of(text).value_or(0);
  if (pid->outer) keep_translation(pid->number, *pid->outer, log);
  return pid->number;
}

std::uint32_t keep(Log& log, std::string_view text) {
  if (text.empty()) return 0;
  if (text.size() > 2 * kPathMax) text = text.substr(0, 2 * kPathMax);
  const auto last = static_cast<std::uint32_t>(log.texts.size() - 1);
  const bool is_data = !log.data_texts.empty() && log.data_texts.back() == last;
  if (log.texts.back() == text && last > 0 && !is_data) return last;
  log.texts.emplace_back(text);
  return last + 1;
}

std::uint32_t keep_data(Log& log, std::string bytes) {
  constexpr std::uint64_t kMost = std::uint64_t{16} << 20;
  if (bytes.empty() || bytes.size() > kMost) return 0;
  log.data_bytes += bytes.size() + sizeof(std::string);
  log.texts.push_back(std::move(bytes));
  log.data_texts.push_back(static_cast<std::uint32_t>(log.texts.size() - 1));
  while (log.data_bytes > kMost) {
    std::string& oldest = log.texts[log.data_texts.front()];
    log.data_bytes -= oldest.size() + sizeof(std::string);
    std::string().swap(oldest);
    log.data_texts.pop_front();
  }
  return static_cast<std::uint32_t>(log.texts.size() - 1);
}

const Known* find_known(std::string_view name) {
  const auto it = table().find(name);
  return it == table().end() ? nullptr : &it->second;
}

void parse_call(const LogLine& line, const Known& known, Call& call, Log& log) {
  call.op = known.op;
  call.name = known.name;
  const CallResult& result = line.result;
  call.returned = result.kind == CallResult::Kind::number;
  call.result = result.failed() ? -errno_number(result.errno_name) : result.value;
  // `?` for a call that never returns is its end; a restart (`? ERESTARTSYS`) had no effect.
  const bool ends = call.op == Op::exit || call.op == Op::exit_group;
  const bool at_entry = result.kind == CallResult::Kind::absent;
  const bool restarts = result.kind == CallResult::Kind::unknown && !ends;
  if (result.failed() && (restarts || (call.returned && !known.keep_failed))) call.op = Op::none;
  if (call.op == Op::none && !at_entry) return;
  known.parse(line, call, log);
  if (result.outer_pid) {
    if (known.op == Op::clone) call.a[2] = *result.outer_pid;
    keep_translation(result.value, *result.outer_pid, log);
  }
  if (at_entry) call.op = known.op;  // what it is shows when all arguments are there
}

}  // namespace ckpt::sim::history
