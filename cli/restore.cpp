// ckpt restore: plans, rehearses, and brings the processes back if the image holds what that takes.
#include <algorithm>
#include <cerrno>
#include <optional>

#include "cli/commands.h"
#include "cli/file_findings.h"
#include "cli/here_check.h"
#include "cli/image_io.h"
#include "cli/image_json.h"
#include "cli/rehearsal.h"
#include "cli/restore_real.h"
#include "cli/terminal.h"
#include "cli/touch.h"
#include "cli/tree_view.h"
#include "restart/print_plan.h"
#include "restart/renumber.h"

namespace ckpt::cli {

namespace {

// A line for each difference; one for files that were opened several times. Those that a restore
// could not give back come first.
std::vector<std::string> file_lines(const format::Image& image,
                                    const std::vector<ChangedFile>& changed, bool fatal) {
  std::vector<std::string> lines;
  for (const ChangedFile& c : changed)
    for (const host::FileFinding& f : c.findings)
      if (f.fatal == fatal) lines.push_back(image.files[c.file].path + ": " + f.message());
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  return lines;
}

Error files_error(const std::vector<std::string>& lines) {
  return cannot("cannot restore these files",
                lines.front() +
                    (lines.size() > 1 ? "; and " + std::to_string(lines.size() - 1) + " more" : ""),
                "", ENOENT);
}

Error here_error(const std::vector<TakenNumber>& taken) {
  constexpr std::size_t kNamed = 3;
  std::string list;
  for (std::size_t i = 0; i < std::min(taken.size(), kNamed); ++i)
    list += (i ? "; " : "") + std::to_string(taken[i].nr) + " by " + taken[i].by;
  if (taken.size() > kNamed) list += "; and " + std::to_string(taken.size() - kNamed) + " more";
  return cannot("cannot restore here", count_of(taken.size(), "number") + " taken: " + list,
                "end these processes, or restore without --here", EEXIST);
}

void list(Out& out, const Style& style, const char* heading,
          const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  out << "\n" << style.bold(heading) << "\n";
  for (const std::string& line : lines) out << "  " << printable(line) << "\n";
}

std::vector<std::string> taken_lines(const std::vector<TakenNumber>& taken) {
  std::vector<std::string> lines;
  for (const TakenNumber& t : taken) lines.push_back(std::to_string(t.nr) + " by " + t.by);
  return lines;
}

Result<int> show_plan(Console& console, const LoadedImage& loaded,
                      const std::vector<TakenNumber>& taken) {
  restart::RehearsalOptions options;
  options.on_plan = [&](const restart::Plan& plan) {
    restart::print_plan(loaded.image, plan,
                        [&](std::string_view line) { console.out << printable(line) << "\n"; });
    console.out.flush();
  };
  const auto rehearsal = rehearse(console, loaded, std::move(options));
  if (rehearsal.has_error()) return rehearsal.error();
  const auto changed = changed_files(loaded.image);
  const auto missing = file_lines(loaded.image, changed, true);
  const auto different = file_lines(loaded.image, changed, false);
  list(console.out, console.style, "Files that cannot be reopened as they were:", missing);
  list(console.out, console.style, "Files that have changed since:", different);
  list(console.out, console.style, "Numbers that are taken:", taken_lines(taken));
  if (!taken.empty()) return here_error(taken);
  if (!missing.empty()) return files_error(missing);
  console.out << "\n" << console.style.green("Rehearsed: nothing would go wrong.") << "\n";
  return 0;
}

void show_machine(Console& console, const restart::Rehearsal& r, const Touch* touch) {
  const ImageFacts facts(r.restored);
  if (console.json) {
    boost::json::array ghosts(r.ghosts.begin(), r.ghosts.end());
    boost::json::object more{
        {"ghosts", std::move(ghosts)}, {"reopens", r.reopens}, {"rehearsed", true}};
    if (touch) more["touched"] = touch->json();
    console.json_open = touch && touch->status().has_error();
    print_json(console.out, facts, nullptr, more, console.json_open);
    return;
  }
  if (touch) return touch->print(console.out, console.style, facts);
  print_tree(console.out, console.style, facts, {console.verbose, SIZE_MAX, nullptr});
}

// A job of a terminal is taken for what it is only if that is asked for.
Status check_job(const Arguments& a, const format::Image& image) {
  CKPT_TRY(const restart::Forest forest, restart::make_forest(image));
  if (a.has("shell-job") && forest.sid[0] >= 0)
    return cannot("cannot restore the job", "the image holds the leader of its session",
                  "restore without --shell-job");
  if (!a.has("shell-job") && is_shell_job(image, forest))
    return cannot("cannot restore the terminal",
                  "it is that of a session whose leader is not in the image",
                  "--shell-job gives the job the terminal that it is started from", ENOTTY);
  return {};
}

// `pages`: of an image that is to be restored for real.
Result<int> restore(Console& console, const Arguments& a, LoadedImage& loaded,
                    const restart::PageStore* pages) {
  if (a.has("no-pids")) {
    // Which numbers, the kernel will choose; the rehearsal's count up from 2.
    CKPT_TRY(loaded.image, restart::renumber(loaded.image));
    console.note("with new numbers: those shown are the rehearsal's");
  }
  std::vector<TakenNumber> taken;
  if (a.has("here")) taken = taken_numbers(loaded.image);
  if (a.has("plan")) return show_plan(console, loaded, taken);
  restart::RehearsalOptions options;
  options.eager_files = a.has("eager-files");
  std::optional<Touch> touch;
  if (a.has("touch")) touch.emplace(loaded.image).join(options);
  const auto rehearsal = rehearse(console, loaded, std::move(options));
  if (rehearsal.has_error()) return in_image(rehearsal.error(), loaded.name);
  console.note("rehearsed: " + count_of(rehearsal->restored.tree.size(), "task") + " in " +
               count_of(rehearsal->steps, "step") + ", " +
               count_of(rehearsal->ghosts.size(), "ghost") +
               "; the machine that came out is that of the image");
  if (!taken.empty()) {
    for (const std::string& line : taken_lines(taken)) console.note("taken: " + line);
    return here_error(taken);
  }
  if (pages) {
    CKPT_CHECK(check_job(a, loaded.image));
    if (console.json) show_machine(console, *rehearsal, nullptr);
    console.out.flush();
    return restore_for_real(console, a, loaded, *pages);
  }
  if (!a.has("rehearse"))
    console.note("the image holds no memory: the rehearsed machine is the result");
  show_machine(console, *rehearsal, touch ? &*touch : nullptr);
  if (touch) CKPT_CHECK(touch->status());
  return 0;
}

// The status of a command that stands for another, as env(1) and timeout(1) have it.
constexpr int kOwnFailure = 125;

}  // namespace

Result<int> run_restore(Console& console, const Arguments& a) {
  if (a.has("touch") && !a.has("rehearse"))
    return usage_error("option --touch needs --rehearse", "a restore opens all files itself",
                       "see ckpt restore --help");
  const bool may_be_real = !a.has("plan") && !a.has("rehearse");
  std::unique_ptr<restart::PageStore> pages;
  if (may_be_real) {
    CKPT_TRY(pages, restart::PageStore::create());
  }
  CKPT_TRY(LoadedImage loaded, load_image(console, a.operands[0], pages.get()));
  const bool real = may_be_real && loaded.image.has_memory();
  if (a.has("detach") && !real)
    return cannot("cannot detach", "the image holds no memory: nothing of it will run",
                  "restore without --detach to see the rehearsed machine");
  Result<int> done = restore(console, a, loaded, real ? pages.get() : nullptr);
  if (!real || a.has("detach") || !done.has_error()) return done;
  console.out.flush();
  console.error(done.error());
  return kOwnFailure;
}

}  // namespace ckpt::cli
