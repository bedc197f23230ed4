// ckpt restore: plans, rehearses, and brings the processes back if the image holds what that takes.
#include <algorithm>
#include <optional>

#include "cli/commands.h"
#include "cli/conflicts.h"
#include "cli/for_ever.h"
#include "cli/image_io.h"
#include "cli/image_json.h"
#include "cli/plan_json.h"
#include "cli/rehearsal.h"
#include "cli/restore_real.h"
#include "cli/touch.h"
#include "cli/tree_view.h"
#include "restart/print_plan.h"
#include "restart/renumber.h"

namespace ckpt::cli {

namespace {

// A line for each difference that a restore can live with; one for files that were opened several
// times.
std::vector<std::string> changed_lines(const format::Image& image,
                                       const std::vector<ChangedFile>& changed) {
  std::vector<std::string> lines;
  for (const ChangedFile& c : changed)
    for (const host::FileFinding& f : c.findings)
      if (!f.fatal) lines.push_back(image.files[c.file].path + ": " + f.message());
  std::sort(lines.begin(), lines.end());
  lines.erase(std::unique(lines.begin(), lines.end()), lines.end());
  return lines;
}

std::vector<std::string> lines_of(const std::vector<Conflict>& conflicts, const char* kind) {
  std::vector<std::string> lines;
  for (const Conflict& c : conflicts)
    if (std::string_view(c.kind) == kind) lines.push_back(c.what);
  return lines;
}

void list(Out& out, const Style& style, const char* heading,
          const std::vector<std::string>& lines) {
  if (lines.empty()) return;
  out << "\n" << style.bold(heading) << "\n";
  for (const std::string& line : lines) out << "  " << printable(line) << "\n";
}

void print_conflicts(Console& console, const std::vector<Conflict>& conflicts) {
  static const struct {
    const char *kind, *heading;
  } kKinds[] = {{"processor", "What this processor lacks:"},
                {"kernel", "What this kernel lacks:"},
                {"privilege", "What is not permitted:"},
                {"number", "Numbers that are taken:"},
                {"terminal", "Terminals:"},
                {"file", "Files that cannot be reopened as they were:"}};
  for (const auto& k : kKinds)
    list(console.out, console.style, k.heading, lines_of(conflicts, k.kind));
}

// The plan is rehearsed, too, whatever is in the way.
Result<int> show_plan(Console& console, const Arguments& a, const LoadedImage& loaded) {
  boost::json::object json;
  restart::RehearsalOptions options;
  options.on_plan = [&](const restart::Plan& plan) {
    if (console.json) {
      json = plan_json(loaded.image, plan);
      return;
    }
    restart::print_plan(loaded.image, plan,
                        [&](std::string_view line) { console.out << printable(line) << "\n"; });
    console.out.flush();
  };
  const auto rehearsal = rehearse(console, loaded, std::move(options));
  if (rehearsal.has_error()) return rehearsal.error();
  const auto changed = changed_files(loaded.image);
  CKPT_TRY(const std::vector<Conflict> conflicts, find_conflicts(a, loaded.image, changed));
  if (console.json) {
    add_conflicts(json, conflicts, changed_lines(loaded.image, changed));
    std::string text = boost::json::serialize(json);
    console.json_open = !conflicts.empty();
    if (console.json_open) text.pop_back();
    console.out << text << (console.json_open ? ", " : "\n");
  } else {
    print_conflicts(console, conflicts);
    list(console.out, console.style,
         "Files that have changed since:", changed_lines(loaded.image, changed));
  }
  if (!conflicts.empty()) return conflicts_error(conflicts);
  if (!console.json)
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

// `pages`: of an image that is to be restored for real.
Result<int> restore(Console& console, const Arguments& a, LoadedImage& loaded,
                    const restart::PageStore* pages) {
  if (a.has("no-pids")) {
    // Which numbers, the kernel will choose; the rehearsal's count up from 2.
    CKPT_TRY(loaded.image, restart::renumber(loaded.image));
    console.note("with new numbers: those shown are the rehearsal's");
  }
  if (a.has("plan")) return show_plan(console, a, loaded);
  restart::RehearsalOptions options;
  options.eager_files = a.has("eager-files");
  std::optional<Touch> touch;
  if (a.has("touch")) touch.emplace(loaded.image).join(options);
  const auto& rehearsal = for_ever(rehearse(console, loaded, std::move(options)));
  if (rehearsal.has_error()) return in_image(rehearsal.error(), loaded.name);
  console.note("rehearsed: " + count_of(rehearsal->restored.tree.size(), "task") + " in " +
               count_of(rehearsal->steps, "step") + ", " +
               count_of(rehearsal->ghosts.size(), "ghost") +
               "; the machine that came out is that of the image");
  if (pages || a.has("here")) {
    const auto changed = pages ? changed_files(loaded.image) : std::vector<ChangedFile>();
    CKPT_TRY(const std::vector<Conflict> conflicts, find_conflicts(a, loaded.image, changed));
    for (const Conflict& c : conflicts)
      console.note((c.kind == std::string_view("number") ? "taken" : c.kind) + (": " + c.what));
    if (!conflicts.empty()) return conflicts_error(conflicts);
  }
  if (pages) {
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
  CKPT_TRY(LoadedImage read, load_image(console, a.operands[0], pages.get()));
  LoadedImage& loaded = for_ever(std::move(read));
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
