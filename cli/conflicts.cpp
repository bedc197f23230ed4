#include "cli/conflicts.h"

#include <algorithm>
#include <cerrno>

#include "cli/here_check.h"
#include "cli/restore_real.h"
#include "cli/terminal.h"
#include "restart/requirements.h"

namespace ckpt::cli {

namespace {

// A job of a terminal is taken for what it is only if that is asked for.
Status add_terminals(const Arguments& a, const format::Image& image, std::vector<Conflict>& out) {
  CKPT_TRY(const restart::Forest forest, restart::make_forest(image));
  const bool has_terminal = std::any_of(image.files.begin(), image.files.end(), [](const auto& f) {
    return f.file.f_type == format::kFileTty;
  });
  if (a.has("shell-job") && forest.sid[0] >= 0)
    out.push_back(
        {"terminal", "the image holds the leader of its session", "restore without --shell-job"});
  if (!a.has("shell-job") && is_shell_job(image, forest))
    out.push_back({"terminal", "the image has that of a session whose leader it does not have",
                   "--shell-job gives the job the terminal that it is started from"});
  if (a.has("shell-job") || has_terminal)
    if (const auto terminal = Terminal::open(); terminal.has_error())
      out.push_back({"terminal", terminal.error().detail, "restore from a terminal"});
  return {};
}

const char* kind_of(restart::Requirement::Of of) {
  switch (of) {
    case restart::Requirement::Of::processor:
      return "processor";
    case restart::Requirement::Of::kernel:
      return "kernel";
    case restart::Requirement::Of::privilege:
      break;
  }
  return "privilege";
}

}  // namespace

Result<std::vector<Conflict>> find_conflicts(const Arguments& a, const format::Image& image,
                                             const std::vector<ChangedFile>& changed) {
  std::vector<Conflict> out;
  for (const auto& r : restart::unmet_requirements(image, place_of(a)))
    out.push_back({kind_of(r.of), r.what, r.hint});
  if (a.has("here"))
    for (const TakenNumber& t : taken_numbers(image))
      out.push_back({"number", std::to_string(t.nr) + " by " + t.by,
                     "end these processes, or restore without --here"});
  if (image.has_memory()) CKPT_CHECK(add_terminals(a, image, out));
  std::vector<std::string> files;
  for (const ChangedFile& c : changed)
    for (const host::FileFinding& f : c.findings)
      if (f.fatal && !(image.has_memory() && image.files[c.file].file.deleted != 0))
        files.push_back(image.files[c.file].path + ": " + f.message());
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  for (std::string& line : files) out.push_back({"file", std::move(line), ""});
  return out;
}

Error conflicts_error(const std::vector<Conflict>& all) {
  constexpr std::size_t kNamed = 3;
  const std::string kind = all.front().kind;
  std::vector<const Conflict*> same;  // as the first
  for (const Conflict& c : all)
    if (c.kind == kind) same.push_back(&c);
  std::string list;
  for (std::size_t i = 0; i < std::min(same.size(), kNamed); ++i)
    list += (i ? "; " : "") + same[i]->what;
  if (same.size() > kNamed) list += "; and " + std::to_string(same.size() - kNamed) + " more";
  if (kind == "number") list = count_of(same.size(), "number") + " taken: " + list;
  if (same.size() < all.size())
    list += "; and " + count_of(all.size() - same.size(), "conflict") + " of another kind";
  const std::string what = kind == "number"     ? "cannot restore here"
                           : kind == "file"     ? "cannot restore these files"
                           : kind == "terminal" ? "cannot restore the terminal"
                                                : "cannot restore on this machine";
  const int error = kind == "number"      ? EEXIST
                    : kind == "file"      ? ENOENT
                    : kind == "terminal"  ? ENOTTY
                    : kind == "privilege" ? EPERM
                                          : ENOTSUP;
  return cannot(what, list, all.front().hint, error);
}

}  // namespace ckpt::cli
