#include "cli/rehearsal.h"

#include "cli/progress.h"

namespace ckpt::cli {

Result<restart::Rehearsal> rehearse(const Console& console, const LoadedImage& loaded,
                                    restart::RehearsalOptions options) {
  Progress progress(console, "rehearsing " + loaded.name, "tasks", loaded.image.tree.size());
  options.on_progress = [&](std::uint64_t made) { progress.at(made); };
  return restart::rehearse(loaded.image, options);
}

}  // namespace ckpt::cli
