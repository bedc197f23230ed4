// The memory side of compare(): address spaces, registers and signals of tasks that were matched.
#include "format/describe.h"
#include "restart/compare_parts.h"

namespace ckpt::restart {

using format::Image;

namespace {

bool same_maps(const format::ImageMm& a, const format::ImageMm& b) {
  return std::equal(a.vmas.begin(), a.vmas.end(), b.vmas.begin(), b.vmas.end(),
                    [](const format::ImageVma& x, const format::ImageVma& y) {
                      return x.path == y.path && x.vma.vm_start == y.vma.vm_start &&
                             x.vma.vm_end == y.vma.vm_end &&
                             x.vma.vm_page_prot == y.vma.vm_page_prot &&
                             x.vma.vm_flags == y.vma.vm_flags && x.vma.vma_type == y.vma.vma_type &&
                             x.vma.vm_pgoff == y.vma.vm_pgoff;
                    });
}

struct MemorySide {
  explicit MemorySide(const Image& i)
      : image(i), mms(i.process.mms), sighands(i.process.sighands), creds(i.process.creds) {}
  const Image& image;
  Index<format::ImageMm> mms;
  Index<format::ImageSighand> sighands;
  Index<format::ImageCred> creds;
};

class MemoryComparer {
 public:
  MemoryComparer(const Image& a, const Forest& fa, const Image& b, Differences& out)
      : a_(a), b_(b), fa_(fa), out_(out) {}

  void task(std::uint32_t i, std::uint32_t j) {
    const format::TaskObjs &x = a_.image.objs[i], &y = b_.image.objs[j];
    if (x.mm_objref == 0 || y.mm_objref == 0) return;  // a zombie
    if (fa_.is_leader(i) || a_.image.zombie(fa_.leader[i])) process(i, x, y);
    const format::ImageThread &s = a_.image.process.threads[i], &t = b_.image.process.threads[j];
    if (!format::described_equal(s.cpu, t.cpu) || s.xstate != t.xstate) differ(i, "registers");
    if (!format::described_equal(s.thread, t.thread) || s.io_priority != t.io_priority ||
        s.processors != t.processors)
      differ(i, "scheduling, alternate stack or restartable sequences");
    if (s.signal.blocked != t.signal.blocked) differ(i, "signal mask");
    const auto *p = a_.creds.find(s.cred), *q = b_.creds.find(t.cred);
    if (!format::described_equal(p->cred, q->cred) || p->groups != q->groups)
      differ(i, "credentials");
  }

 private:
  void differ(std::uint32_t i, const char* what) {
    out_.add("task " + task_text(a_.image, fa_, i) + ": " + what, "other", "other");
  }

  void process(std::uint32_t i, const format::TaskObjs& x, const format::TaskObjs& y) {
    const auto *p = a_.mms.find(x.mm_objref), *q = b_.mms.find(y.mm_objref);
    if (!std::equal(p->guards.begin(), p->guards.end(), q->guards.begin(), q->guards.end(),
                    format::described_equal<format::GuardArea>))
      differ(i, "guard pages");
    if (!same_maps(*p, *q))
      out_.add("task " + task_text(a_.image, fa_, i) + ": mappings", std::to_string(p->vmas.size()),
               std::to_string(q->vmas.size()));
    if (p->digest != q->digest)
      out_.add("task " + task_text(a_.image, fa_, i) + ": pages of memory",
               std::to_string(p->pages), std::to_string(q->pages));
    const auto& actions = a_.sighands.find(x.sighand_objref)->actions;
    const auto& others = b_.sighands.find(y.sighand_objref)->actions;
    if (!std::equal(actions.begin(), actions.end(), others.begin(), others.end(),
                    format::described_equal<format::Sigaction>))
      differ(i, "signal dispositions");
  }

  MemorySide a_, b_;
  const Forest& fa_;
  Differences& out_;
};

}  // namespace

void compare_memory(const Image& a, const Forest& fa, const Image& b,
                    std::span<const TaskPair> tasks, Differences& out) {
  MemoryComparer comparer(a, fa, b, out);
  for (const auto& [i, j] : tasks) {
    if (out.full()) return;
    comparer.task(i, j);
  }
}

}  // namespace ckpt::restart
