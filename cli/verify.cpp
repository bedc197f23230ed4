// ckpt verify: reads images whole, checks them, and rehearses their restore.
#include "cli/commands.h"
#include "cli/image_facts.h"
#include "cli/image_io.h"
#include "cli/rehearsal.h"

namespace ckpt::cli {

namespace {

Result<std::string> verify_one(const Console& console, const std::string& path) {
  CKPT_TRY(const LoadedImage loaded, load_image(console, path));
  const auto rehearsal = rehearse(console, loaded);
  if (rehearsal.has_error()) return in_image(rehearsal.error(), loaded.name);
  const format::Image& image = loaded.image;
  std::string said = count_of(image.tree.size(), "task") + ", " + human_size(loaded.bytes) +
                     ", restore rehearsed in " + count_of(rehearsal->steps, "step");
  if (console.verbose)
    said += "; format " + std::to_string(image.header.format_major.value()) + "." +
            std::to_string(image.header.format_minor.value()) + ", " +
            (image.header.source == format::kSourceHost ? "live processes" : "a history") + ", " +
            (image.header.mode == format::kModeContainer ? "container" : "subtree") + ", " +
            count_of(image.pids.size(), "pid") + ", " +
            count_of(image.namespaces.size(), "pid namespace") + ", " +
            count_of(image.files.size(), "open file");
  return said;
}

}  // namespace

// All images are looked at, whatever the first ones are like; the worst decides.
Result<int> run_verify(Console& console, const Arguments& arguments) {
  int code = 0;
  for (const std::string& path : arguments.operands) {
    const auto result = verify_one(console, path);
    const std::string name = path == "-" ? "standard input" : path;
    if (result.has_error()) {
      console.out.flush();
      console.error(result.error());
      code = std::max(code, exit_code(result.error().kind));
    } else if (!console.quiet) {
      console.out << printable(name) << ": " << console.style.green("OK") << ", " << *result
                  << "\n";
    }
  }
  return code;
}

}  // namespace ckpt::cli
