// Numbers for throw-away helpers: at every level one that no pid object of the image has.
#pragma once

#include "restart/step.h"

namespace ckpt::restart {

class SpareNumbers {
 public:
  explicit SpareNumbers(const format::Image& image);
  // Numbers for one more helper that lives in namespace `ns`, from the root namespace down. Given
  // once: no two helpers share a number. A number is 0 if the namespace has none left.
  [[nodiscard]] const std::vector<std::int32_t>& next(std::uint32_t ns);

 private:
  void collect();

  const format::Image& image_;
  std::vector<std::uint32_t> parent_;            // index of each namespace's parent
  std::vector<std::int32_t> last_;               // the last number given in each namespace
  std::vector<std::vector<std::int32_t>> used_;  // sorted, filled when first needed
  bool collected_ = false;
  std::vector<std::int32_t> numbers_;
};

}  // namespace ckpt::restart
