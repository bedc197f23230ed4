// ckpt restore: plans, rehearses, and (as images hold no memory and no registers yet) ends there.
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "cli/commands.h"
#include "cli/here_check.h"
#include "cli/image_io.h"
#include "cli/image_json.h"
#include "cli/tree_view.h"
#include "restart/check_plan.h"
#include "restart/planner.h"
#include "restart/print_plan.h"
#include "restart/rehearse.h"
#include "restart/renumber.h"

namespace ckpt::cli {

namespace {

// What would be missing when the files are opened again: those of an image of this kind of machine,
// whose paths mean something here.
std::vector<std::string> file_troubles(const format::Image& image) {
  std::vector<std::string> all;
  if (image.header.source != format::kSourceHost) return all;
  for (const format::ImageFile& f : image.files) {
    const std::string type = file_type_name(f.file);
    if ((type != "regular" && type != "directory") || f.path.empty() || f.path[0] != '/') continue;
    struct stat st {};
    if (f.file.deleted != 0)
      all.push_back(f.path + ": was deleted; its contents are not in the image");
    else if (::stat(f.path.c_str(), &st) != 0)
      all.push_back(f.path + ": " + std::strerror(errno));
    else if (f.file.ino != 0 && (f.file.ino != st.st_ino || f.file.dev != st.st_dev))
      all.push_back(f.path + ": is another file now");
    else if (type == "regular" && static_cast<std::uint64_t>(st.st_size) < f.file.f_pos &&
             f.file.size >= f.file.f_pos)
      all.push_back(f.path + ": is shorter now than the offset " + std::to_string(f.file.f_pos));
  }
  return all;
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
  CKPT_TRY(const restart::Plan plan, restart::make_plan(loaded.image));
  CKPT_CHECK(restart::check_plan(loaded.image, plan));
  restart::print_plan(loaded.image, plan,
                      [&](std::string_view line) { console.out << printable(line) << "\n"; });
  const auto troubles = file_troubles(loaded.image);
  list(console.out, console.style, "Files that would be missing:", troubles);
  list(console.out, console.style, "Numbers that are taken:", taken_lines(taken));
  const auto rehearsal = restart::rehearse(loaded.image);
  if (rehearsal.has_error()) return rehearsal.error();
  if (!taken.empty()) return here_error(taken);
  if (troubles.empty())
    console.out << "\n" << console.style.green("Rehearsed: nothing would go wrong.") << "\n";
  return 0;
}

void show_machine(Console& console, const restart::Rehearsal& r) {
  const ImageFacts facts(r.restored);
  if (console.json) {
    boost::json::array ghosts(r.ghosts.begin(), r.ghosts.end());
    print_json(console.out, facts, nullptr,
               {{"ghosts", std::move(ghosts)}, {"reopens", r.reopens}, {"rehearsed", true}});
    return;
  }
  print_tree(console.out, console.style, facts, {console.verbose, SIZE_MAX, nullptr});
}

}  // namespace

Result<int> run_restore(Console& console, const Arguments& a) {
  CKPT_TRY(LoadedImage loaded, load_image(console, a.operands[0]));
  if (a.has("no-pids")) {
    // Which numbers, the kernel will choose; the rehearsal's count up from 2.
    CKPT_TRY(loaded.image, restart::renumber(loaded.image));
    console.note("with new numbers: those shown are the rehearsal's");
  }
  std::vector<TakenNumber> taken;
  if (a.has("here")) taken = taken_numbers(loaded.image);
  if (a.has("plan")) return show_plan(console, loaded, taken);
  const auto rehearsal = restart::rehearse(loaded.image, {.eager_files = a.has("eager-files")});
  if (rehearsal.has_error()) return in_image(rehearsal.error(), loaded.name);
  console.note("rehearsed: " + count_of(rehearsal->restored.tree.size(), "task") + " in " +
               count_of(rehearsal->steps, "step") + ", " +
               count_of(rehearsal->ghosts.size(), "ghost") +
               "; the machine that came out is that of the image");
  if (!taken.empty()) {
    for (const std::string& line : taken_lines(taken)) console.note("taken: " + line);
    return here_error(taken);
  }
  if (!a.has("rehearse"))
    console.note("images hold no memory and no registers yet: the rehearsed machine is the result");
  show_machine(console, *rehearsal);
  return 0;
}

}  // namespace ckpt::cli
