#include "format/error.h"

#include <cstdio>
#include <cstdlib>

namespace ckpt {

void throw_exception_from_error(const Error& error, const boost::source_location& where) {
  std::fprintf(stderr, "ckpt: internal error: unexpected failure \"%s\" at %s:%u\n",
               error.message().c_str(), where.file_name(), static_cast<unsigned>(where.line()));
  std::abort();
}

void assertion_failed(const char* what, const char* file, int line) {
  std::fprintf(stderr, "ckpt: internal error: %s does not hold at %s:%d\n", what, file, line);
  std::abort();
}

}  // namespace ckpt
