// The calls of a log that change names, from text to numbers.
#include <string>

#include "core/sim/history_parse.h"
#include "core/sim/strace_value.h"

namespace ckpt::sim::history {

namespace {

constexpr FlagName kAtFlags[] = {{"AT_REMOVEDIR", kAtRemoveDir},
                                 {"AT_SYMLINK_FOLLOW", kAtSymlinkFollow},
                                 {"AT_EMPTY_PATH", kAtEmptyPath}};
// RENAME_WHITEOUT leaves something that no name of a program stands for.
constexpr FlagName kRenameFlags[] = {{"RENAME_NOREPLACE", kRenameNoReplace},
                                     {"RENAME_EXCHANGE", kRenameExchange}};

std::uint32_t keep_string(const LogLine& line, std::size_t at, Log& log) {
  const auto path = parse_string(text_arg(line, at));
  return keep(log, path ? path->bytes : "");
}

std::int64_t flags_arg(const LogLine& line, std::size_t at, std::span<const FlagName> names) {
  return static_cast<std::int64_t>(flags_value(text_arg(line, at), names));
}

void parse_one(const LogLine& line, Call& call, Log& log) {
  call.a[0] = kCwd;
  call.text = keep_string(line, 0, log);
  if (line.name == "rmdir") call.a[2] = kAtRemoveDir;
}

void parse_one_at(const LogLine& line, Call& call, Log& log) {
  call.a[0] = fd_arg(line, 0);
  call.text = keep_path(line, 0, 1, log);
  if (line.name == "unlinkat") call.a[2] = flags_arg(line, 2, kAtFlags);
}

void parse_mknod(const LogLine& line, Call& call, Log& log) {
  parse_one(line, call, log);
  call.a[1] = flags_arg(line, 1, mode_flags());
}

void parse_mknodat(const LogLine& line, Call& call, Log& log) {
  parse_one_at(line, call, log);
  call.a[1] = flags_arg(line, 2, mode_flags());
}

void parse_two(const LogLine& line, Call& call, Log& log) {
  call.a[0] = call.a[1] = kCwd;
  call.text = keep_string(line, 0, log);
  call.a[3] = keep_string(line, 1, log);
}

void parse_two_at(const LogLine& line, Call& call, Log& log) {
  call.a[0] = fd_arg(line, 0);
  call.a[1] = fd_arg(line, 2);
  call.text = keep_path(line, 0, 1, log);
  call.a[3] = keep_path(line, 2, 3, log);
  const bool links = line.name == "linkat";
  call.a[2] = links ? flags_arg(line, 4, kAtFlags) : flags_arg(line, 4, kRenameFlags);
}

void parse_symlink(const LogLine& line, Call& call, Log& log) {
  const bool at = line.name == "symlinkat";
  call.a[0] = at ? fd_arg(line, 1) : kCwd;
  call.a[3] = keep_string(line, 0, log);
  call.text = at ? keep_path(line, 1, 2, log) : keep_string(line, 1, log);
}

}  // namespace

std::uint32_t keep_path(const LogLine& line, std::size_t dirfd, std::size_t path, Log& log) {
  const auto name = parse_string(text_arg(line, path));
  const auto dir = parse_fd(text_arg(line, dirfd));
  if (!name) return 0;
  if (name->bytes.starts_with('/') || !dir || dir->deleted || dir->path().empty())
    return keep(log, name->bytes);
  return keep(log, dir->path() + std::string(1, '\0') + name->bytes);
}

void add_name_calls(KnownCalls& all) {
  const auto add = [&](Op op, decltype(Known::parse) parse,
                       std::initializer_list<const char*> names) {
    for (const char* name : names) all[name] = {op, parse, false};
  };
  add(Op::link, parse_two, {"link"});
  add(Op::link, parse_two_at, {"linkat"});
  add(Op::rename, parse_two, {"rename"});
  add(Op::rename, parse_two_at, {"renameat", "renameat2"});
  add(Op::unlink, parse_one, {"unlink", "rmdir"});
  add(Op::unlink, parse_one_at, {"unlinkat"});
  add(Op::mkdir, parse_one, {"mkdir"});
  add(Op::mkdir, parse_one_at, {"mkdirat"});
  add(Op::symlink, parse_symlink, {"symlink", "symlinkat"});
  add(Op::mknod, parse_mknod, {"mknod"});
  add(Op::mknod, parse_mknodat, {"mknodat"});
}

}  // namespace ckpt::sim::history
