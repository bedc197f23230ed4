// inspect --maps: what /proc/PID/maps would show, and how much of each process is in the image.
#include <map>

#include "cli/views.h"

namespace ckpt::cli {

namespace {

std::string hex(std::uint64_t n) {
  char text[24];
  std::snprintf(text, sizeof text, "%lx", static_cast<unsigned long>(n));
  return text;
}

std::string permissions(const format::Vma& v) {
  const bool shared = v.vma_type == format::kVmaShmAnon || v.vma_type == format::kVmaShmFile;
  const std::uint64_t p = v.vm_page_prot;
  return {(p & 1) ? 'r' : '-', (p & 2) ? 'w' : '-', (p & 4) ? 'x' : '-', shared ? 's' : 'p'};
}

std::string name_of(const format::ImageMm& mm, const format::ImageVma& v) {
  if (!v.path.empty()) return printable(v.path);
  const auto holds = [&](std::uint64_t address) {
    return address >= v.vma.vm_start && address < v.vma.vm_end;
  };
  if (v.vma.vma_type == format::kVmaShmAnon)
    return "[shared memory " + std::to_string(v.vma.ino_objref) + "]";
  if (holds(mm.mm.start_stack)) return "[stack]";
  if (holds(mm.mm.start_brk) && mm.mm.brk > mm.mm.start_brk) return "[heap]";
  return "";
}

void print_mm(Out& out, const format::Image& image, const format::ImageMm& mm) {
  std::uint64_t total = 0;
  for (const format::ImageVma& v : mm.vmas) {
    total += v.vma.vm_end - v.vma.vm_start;
    const std::string range = hex(v.vma.vm_start) + "-" + hex(v.vma.vm_end);
    const std::string name = name_of(mm, v);
    out << "  " << range << std::string(range.size() < 26 ? 26 - range.size() : 1, ' ')
        << permissions(v.vma) << "  ";
    if (name.empty())
      out << human_size(v.vma.vm_end - v.vma.vm_start) << "\n";
    else
      out << name << "\n";
  }
  if (mm.mm.vdso != 0)
    out << "  " << hex(mm.mm.vdso) << "-" << hex(mm.mm.vdso + image.process.vdso.size())
        << "  r-xp  [vdso]\n";
  out << "  " << count_of(mm.vmas.size(), "mapping") << ", " << human_size(total) << ", of which "
      << human_size(mm.pages * format::kPageSize) << " are in the image\n";
}

}  // namespace

void print_maps(Out& out, const Style& style, const ImageFacts& facts, const ProcessFacts* only) {
  const format::Image& image = facts.image;
  if (!image.has_memory()) {
    out << "The image holds no memory.\n";
    return;
  }
  std::map<std::int32_t, const format::ImageMm*> mms;
  for (const format::ImageMm& mm : image.process.mms) mms[mm.ref] = &mm;
  bool first = true;
  facts.for_each(only, [&](const ProcessFacts& p) {
    std::int32_t ref = 0;
    for (std::uint32_t i = 0; i < p.threads && ref == 0; ++i)
      ref = image.objs[p.first + i].mm_objref;
    if (!first) out << "\n";
    first = false;
    out << style.bold(facts.name(p)) << "\n";
    if (ref == 0)
      out << "  a zombie has no memory\n";
    else
      print_mm(out, image, *mms.at(ref));
  });
}

}  // namespace ckpt::cli
