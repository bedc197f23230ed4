// Accessors of Image. Reading is in read_image.cpp.
#include "format/image.h"

namespace ckpt::format {

std::string_view Image::comm(std::size_t task) const {
  const auto& c = comms[task];
  return {c.data(), ::strnlen(c.data(), c.size())};
}

std::uint32_t Image::node_of(std::size_t leader) const {
  const auto it = task_nodes.find(static_cast<std::uint32_t>(leader));
  return it == task_nodes.end() ? 0 : it->second;
}

TaskKin Image::kin_of(std::size_t task) const {
  const auto it = kin.find(static_cast<std::uint32_t>(task));
  return it == kin.end() ? TaskKin{} : it->second;
}

}  // namespace ckpt::format
