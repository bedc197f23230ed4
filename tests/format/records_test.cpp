#include "format/records.h"

#include <catch2/catch.hpp>
#include <string>

using namespace ckpt::format;

TEST_CASE("Records are known by the names of linux-cr", "[format]") {
  CHECK(record_name(101) == std::string("PIDS"));
  CHECK(record_name(9001) == std::string("TAIL"));
  CHECK(record_name(7) == nullptr);
}
