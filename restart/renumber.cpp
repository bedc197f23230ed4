#include "restart/renumber.h"

namespace ckpt::restart {

Result<format::Image> renumber(const format::Image& image, std::int32_t first) {
  if (image.namespaces.size() > 1)
    return cannot("cannot restore with new numbers",
                  "the image holds " + std::to_string(image.namespaces.size()) +
                      " pid namespaces, and numbers can be new in one only",
                  "restore without --no-pids");
  format::Image copy = image;
  format::PidTable pids;
  pids.set_first_ref(image.pids.first_ref());
  pids.reserve(image.pids.size(), image.pids.size());
  for (std::size_t i = 0; i < image.pids.size(); ++i) {
    const std::int32_t number = first + static_cast<std::int32_t>(i);
    pids.add({&number, 1});
  }
  copy.pids = std::move(pids);
  copy.header.mode = format::kModeSubtree;
  copy.header.uflags = 1;
  return copy;
}

}  // namespace ckpt::restart
