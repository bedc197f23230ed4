#include "cli/touch.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "cli/image_json.h"
#include "cli/views.h"

namespace ckpt::cli {

void Touch::join(restart::RehearsalOptions& options) {
  options.server_for = [this](core::FileDomain& domain, const format::ImageFile& file) {
    auto server = reopener_.server_for(domain, file);
    if (server) served_.emplace(server.get(), &file);
    return server;
  };
  options.on_machine = [this](core::Process& root) { touch_all(root); };
}

void Touch::touch_all(core::Process& root) {
  std::unordered_set<const core::FdTable*> done;  // shared ones are touched once
  core::for_each_process(root, [&](core::Process& p) {
    if (p.files && done.insert(p.files.get()).second) touch(p);
  });
}

void Touch::touch(const core::Process& process) {
  for (const core::Fd& fd : process.files->fds()) {
    const auto served = served_.find(fd.file->server.get());
    if (served == served_.end()) continue;
    core::Ref<core::File> file;
    if (process.files->use(fd.fd, core::kNoRights, &file) == 0) {
      ++touched_;
      continue;
    }
    const format::ImageFile& of = *served->second;
    const core::Nr nr = process.tgid->nr_at(0);
    failures_.push_back({std::to_string(nr) + " (" + std::string(process.leader->name()) + ")", nr,
                         fd.fd, of.path, reopener_.states().at(of.ref).reason});
  }
}

namespace {

// How many descriptors of the restored machine nobody touched, by type.
std::map<std::string, std::size_t> never_needed(const format::Image& image) {
  std::unordered_map<std::int32_t, const format::ImageFile*> files;
  for (const format::ImageFile& f : image.files) files.emplace(f.ref, &f);
  std::map<std::string, std::size_t> types;
  for (const format::ImageFileTable& table : image.file_tables)
    for (const format::FileDesc& fd : table.fds) {
      const format::ImageFile& file = *files.at(fd.fd_objref);
      if (fd.fd_pending != 0 && !host::Reopener::serves(file)) ++types[file_type_name(file.file)];
    }
  return types;
}

std::size_t opened(const host::Reopener& reopener) {
  return static_cast<std::size_t>(
      std::count_if(reopener.states().begin(), reopener.states().end(),
                    [](const auto& state) { return state.second.open; }));
}

}  // namespace

void Touch::print(Out& out, const Style& style, const ImageFacts& restored) const {
  print_fds(out, style, restored, nullptr);
  if (!failures_.empty()) out << "\n" << style.bold("Could not be reopened:") << "\n";
  for (const Failure& f : failures_)
    out << "  " << printable(f.process) << " " << std::to_string(f.fd) << "  " << printable(f.path)
        << ": " << style.red(printable(f.reason)) << "\n";
  out << "\nReopened here: " << count_of(opened(reopener_), "file") << " for "
      << count_of(touched_, "descriptor") << "\n";
  const auto types = never_needed(restored.image);
  std::size_t left = 0;
  std::string list;
  for (const auto& [type, count] : types) {
    left += count;
    list += (list.empty() ? "" : ", ") + std::to_string(count) + " " + type;
  }
  out << "Never needed, still pending: " << count_of(left, "descriptor")
      << (list.empty() ? "" : " (" + list + ")") << "\n";
}

boost::json::object Touch::json() const {
  boost::json::array failed;
  for (const Failure& f : failures_)
    failed.push_back({{"pid", f.pid},
                      {"fd", f.fd},
                      {"path", valid_utf8(f.path)},
                      {"reason", valid_utf8(f.reason)}});
  return {{"files", opened(reopener_)}, {"descriptors", touched_}, {"failed", std::move(failed)}};
}

Status Touch::status() const {
  if (failures_.empty()) return {};
  const Failure& first = failures_.front();
  return cannot(
      "cannot reopen " + count_of(failures_.size(), "descriptor"),
      first.process + " " + std::to_string(first.fd) + ", " + first.path + ": " + first.reason);
}

}  // namespace ckpt::cli
