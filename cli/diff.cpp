// ckpt diff: what differs between two images, whatever does not matter left out. Exit codes as
// diff(1): 0 the same, 1 different, 2 trouble; but 3 for a damaged image.
#include <boost/json.hpp>

#include "cli/commands.h"
#include "cli/image_io.h"
#include "restart/compare.h"

namespace ckpt::cli {

namespace {

// diff(1) says 2 where it could not compare.
Error trouble(Error e) {
  if (e.kind == ErrorKind::cannot) e.kind = ErrorKind::usage;
  return e;
}

std::string side(const std::string& name, const std::string& value) {
  return value == "absent" ? "absent in " + name : value + " in " + name;
}

}  // namespace

Result<int> run_diff(Console& console, const Arguments& arguments) {
  if (arguments.operands[0] == "-" && arguments.operands[1] == "-")
    return usage_error("only one image can be read from standard input", {}, "give a file");
  const auto a = load_image(console, arguments.operands[0]);
  if (a.has_error()) return trouble(a.error());
  const auto b = load_image(console, arguments.operands[1]);
  if (b.has_error()) return trouble(b.error());
  const auto differences = restart::compare(a->image, b->image);
  Out& out = console.out;
  if (console.json) {
    boost::json::array list;
    for (const auto& d : differences)
      list.push_back(boost::json::object{
          {"where", valid_utf8(d.where)}, {"a", valid_utf8(d.a)}, {"b", valid_utf8(d.b)}});
    out << boost::json::serialize(
               boost::json::object{{"same", differences.empty()}, {"differences", std::move(list)}})
        << "\n";
  } else if (!console.quiet) {
    for (const auto& d : differences)
      out << console.style.bold(printable(d.where)) << ": "
          << console.style.red(printable(side(a->name, d.a))) << ", "
          << console.style.green(printable(side(b->name, d.b))) << "\n";
    if (differences.size() >= 1000) out << "and perhaps more\n";
  }
  if (console.verbose && differences.empty())
    console.note(printable(a->name) + " and " + printable(b->name) + " are the same");
  return differences.empty() ? 0 : 1;
}

}  // namespace ckpt::cli
