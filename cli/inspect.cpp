// ckpt inspect: looks at an image.
#include "cli/commands.h"
#include "cli/image_json.h"
#include "cli/tree_view.h"
#include "cli/views.h"

namespace ckpt::cli {

namespace {
constexpr std::size_t kSummaryGhosts = 20;  // --tree and --pids show them all
}

Result<int> run_inspect(Console& console, const Arguments& a) {
  const std::string& path = a.operands[0];
  std::optional<std::int32_t> pid;
  if (a.has("pid")) {
    CKPT_TRY(const std::uint64_t n, parse_number("pid", a.value("pid"), 1, 4194304));
    pid = static_cast<std::int32_t>(n);
  }
  if (a.has("records")) {
    CKPT_CHECK(print_records(console, path, pid));
    return 0;
  }
  CKPT_TRY(const LoadedImage loaded, load_image(console, path));
  if (a.has("trace")) {
    if (loaded.image.trace.empty())
      return cannot("no trace in " + loaded.name, "it was dumped without one",
                    "ckpt dump --trace OUT puts it there, too");
    print_trace(console.out, loaded.image, pid, console.json);
    return 0;
  }
  const ImageFacts facts(loaded.image);
  const ProcessFacts* only = nullptr;
  if (pid && !(only = facts.find(*pid)))
    return cannot("no such process in " + loaded.name, "pid " + std::to_string(*pid),
                  "ckpt inspect shows which there are");
  Out& out = console.out;
  if (console.json) {
    print_json(out, facts, only);
  } else if (a.has("pids")) {
    print_pids(out, console.style, facts, only);
  } else if (a.has("fds")) {
    print_fds(out, console.style, facts, only);
  } else if (a.has("maps")) {
    print_maps(out, console.style, facts, only);
  } else {
    const bool tree_only = a.has("tree") || only;
    if (!tree_only) print_summary(out, console.style, facts, loaded);
    print_tree(out, console.style, facts,
               {console.verbose || only != nullptr, tree_only ? SIZE_MAX : kSummaryGhosts, only});
  }
  return 0;
}

}  // namespace ckpt::cli
