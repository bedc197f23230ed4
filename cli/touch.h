// restore --rehearse --touch: the regular files and directories of the image are reopened for real,
// each when a descriptor of the rehearsed machine is first touched.
#pragma once

#include <boost/json.hpp>
#include <unordered_map>

#include "cli/image_facts.h"
#include "cli/output.h"
#include "core/host/reopen.h"
#include "restart/rehearse.h"

namespace ckpt::cli {

class Touch {
 public:
  explicit Touch(const format::Image& image) : image_(image) {}

  // Makes the rehearsal touch every descriptor of a file that is reopened by its path.
  void join(restart::RehearsalOptions& options);

  // After the rehearsal: every descriptor, live or still pending; what could not be reopened; how
  // many there were of each. `restored` is the rehearsal's machine.
  void print(Out& out, const Style& style, const ImageFacts& restored) const;
  [[nodiscard]] boost::json::object json() const;
  // The first failure, if there is one.
  [[nodiscard]] Status status() const;

 private:
  struct Failure {
    std::string process;  // "100 (sh)"
    std::int32_t pid, fd;
    std::string path, reason;
  };
  void touch_all(core::Process& root);
  void touch(const core::Process& process);

  const format::Image& image_;
  host::Reopener reopener_;
  std::unordered_map<const core::FileServer*, const format::ImageFile*> served_;
  std::size_t touched_ = 0;
  std::vector<Failure> failures_;
};

}  // namespace ckpt::cli
