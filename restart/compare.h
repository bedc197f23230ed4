// Two images in canonical form: what differs, for a person. Left out are the head's host and time,
// objref numbers, and whether an fd is live or pending.
#pragma once

#include <string>
#include <vector>

#include "format/image.h"

namespace ckpt::restart {

struct Difference {
  std::string where;  // "task 101 (sleep): session"
  std::string a, b;   // "100", "101"; "absent" for what only the other image has

  // "task 101 (sleep): session: 100 in one, 101 in the other"
  [[nodiscard]] std::string text() const;
};

// What to compare: everything that the images hold, or what the simulated kernel knows of, which is
// everything but memory, registers and the like (format/process_records.h).
enum class Scope { everything, model };

// At most `limit` differences, in tree order; none if the images are the same. Tasks are matched by
// their numbers, so that quite different images compare well. Linear if they are alike.
std::vector<Difference> compare(const format::Image& a, const format::Image& b,
                                std::size_t limit = 1000, Scope scope = Scope::everything);

}  // namespace ckpt::restart
