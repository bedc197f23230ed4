// The first lines of inspect: source, mode, counts.
#include <array>
#include <ctime>

#include "cli/views.h"

namespace ckpt::cli {

namespace {

std::string utc(std::uint64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm tm{};
  char text[40];
  if (!::gmtime_r(&time, &tm) || std::strftime(text, sizeof text, "%F %T UTC", &tm) == 0)
    return std::to_string(seconds) + " s after 1970";
  return text;
}

std::string source(const format::Image& image) {
  if (image.header.source == format::kSourceHistory)
    return "a history, replayed in the simulated kernel";
  std::string s = "processes of host " + printable(image.nodename);
  s += ", Linux " + printable(image.release) + " " + printable(image.machine);
  return s;
}

std::string states(const ImageFacts& facts) {
  std::array<std::size_t, 5> count{};
  for (const ProcessFacts& p : facts.processes) ++count[static_cast<std::size_t>(facts.state(p))];
  std::string s;
  for (std::size_t i = 0; i < count.size(); ++i) {
    if (count[i] == 0) continue;
    if (!s.empty()) s += ", ";
    s += std::to_string(count[i]) + " " + state_name(static_cast<ProcessState>(i));
  }
  return s;
}

std::string files(const format::Image& image) {
  std::size_t fds = 0, pending = 0;
  for (const format::ImageFileTable& t : image.file_tables) {
    fds += t.fds.size();
    for (const format::FileDesc& fd : t.fds) pending += fd.fd_pending != 0;
  }
  std::string s = count_of(image.files.size(), "open file") + ", " + count_of(fds, "descriptor") +
                  " in " + count_of(image.file_tables.size(), "table");
  if (pending > 0) s += ", " + std::to_string(pending) + " pending";
  return s;
}

std::string memory(const format::Image& image) {
  std::uint64_t pages = 0;
  for (const format::ImageMm& mm : image.process.mms) pages += mm.pages;
  for (const format::ImageShm& shm : image.process.shms) pages += shm.pages;
  return human_size(pages * format::kPageSize) + " in " +
         count_of(image.process.mms.size(), "address space") + ", with registers";
}

}  // namespace

void print_summary(Out& out, const Style& style, const ImageFacts& facts,
                   const LoadedImage& loaded) {
  const format::Image& image = loaded.image;
  const auto line = [&](const char* key, const std::string& value) {
    out << style.bold(pad_right(key, 12)) << value << "\n";
  };
  const format::Header& h = image.header;
  line("image", printable(loaded.name) + ", " + human_size(loaded.bytes) + ", format " +
                    std::to_string(h.format_major) + "." + std::to_string(h.format_minor));
  line("source", source(image));
  if (h.time != 0) line("taken", utc(h.time));
  line("mode", h.mode == format::kModeContainer
                   ? "container: a pid namespace with all that is in it"
                   : "subtree: ids from outside are those of whoever restores");
  const std::size_t threads = image.tree.size() - facts.processes.size();
  line("processes", std::to_string(facts.processes.size()) + ": " + states(facts));
  line("tasks",
       std::to_string(image.tree.size()) +
           (threads > 0 ? ", " + count_of(threads, "further thread") + " among them" : ""));
  line("pids",
       count_of(image.pids.size(), "pid object") +
           (facts.ghosts > 0 ? ", " + count_of(facts.ghosts, "ghost") + " among them" : ""));
  if (image.namespaces.size() > 1) {
    std::uint32_t deepest = 0;
    for (const format::PidNs& ns : image.namespaces) deepest = std::max(deepest, ns.level.value());
    line("namespaces", count_of(image.namespaces.size(), "pid namespace") + ", " +
                           count_of(deepest + 1, "level"));
  }
  if (!image.file_tables.empty()) line("files", files(image));
  if (image.has_memory()) line("memory", memory(image));
  out << "\n";
}

}  // namespace ckpt::cli
