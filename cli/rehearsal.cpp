#include "cli/rehearsal.h"

#include "cli/progress.h"

namespace ckpt::cli {

Result<restart::Rehearsal> rehearse(const Console& console, const LoadedImage& loaded,
                                    std::function<void(const restart::Plan&)> on_plan) {
  Progress progress(console, "rehearsing " + loaded.name, "tasks", loaded.image.tree.size());
  return restart::rehearse(loaded.image,
                           {std::move(on_plan), [&](std::uint64_t made) { progress.at(made); }});
}

}  // namespace ckpt::cli
