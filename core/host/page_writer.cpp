#include "core/host/page_writer.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "core/host/in_parts.h"

namespace ckpt::host {

namespace {

using format::kPageSize;
using format::kZeroPages;
using format::PageRef;

// Of one array: with its heads and references it fills a frame of 1 MiB.
constexpr std::size_t kPagesOfBatch = 254;
constexpr std::size_t kBatchesOfThread = 8;  // in flight
constexpr std::size_t kRefsOfArray = 1U << 16;
constexpr std::size_t kFramesAtOnce = 512;

format::KeyedHash::Secret draw_secret() {
  format::KeyedHash::Secret secret;
  CKPT_ASSERT(::getrandom(secret.data(), secret.size(), 0) == static_cast<ssize_t>(secret.size()));
  return secret;
}

Status read_fully(int file, std::uint64_t address, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::pread(file, out.data(), out.size(), static_cast<off_t>(address));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return cannot("cannot read memory", "at address " + std::to_string(address), {},
                    n < 0 ? errno : EIO);
    address += static_cast<std::uint64_t>(n);
    out = out.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

bool is_zero(std::span<const std::byte> page) {
  return page[0] == std::byte{0} && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

}  // namespace

struct PageWriter::Batch : format::Job {
  struct Piece {
    int file;
    std::uint64_t length, address;
    std::size_t pages;
  };
  explicit Batch(const format::KeyedHash& h) : hash(h) {}
  [[nodiscard]] std::span<std::byte> all() const {
    return {bytes.get(), kPagesOfBatch * kPageSize};
  }
  void clear() {
    pages.clear();
    pieces.clear();
    hashes.clear();
  }
  [[nodiscard]] std::span<const std::byte> page(std::size_t i) const {
    return all().subspan(i * kPageSize, kPageSize);
  }
  void add(const Space& space, const Page& page) {
    const bool follows = !pages.empty() && pages.back().space == page.space &&
                         pages.back().address + kPageSize == page.address;
    if (!follows) pieces.push_back({space.file, space.length, page.address, 0});
    ++pieces.back().pages;
    pages.push_back(page);
  }
  void run() override {
    auto rest = all();
    for (const Piece& piece : pieces) {
      status = read(piece, rest.first(piece.pages * kPageSize));
      if (status.has_error()) return;
      rest = rest.subspan(piece.pages * kPageSize);
    }
    for (std::size_t i = 0; i < pages.size(); ++i)
      hashes.push_back(is_zero(page(i)) ? std::nullopt : std::optional(hash(page(i))));
  }
  // The end of a file lies within a page.
  static Status read(const Piece& piece, std::span<std::byte> out) {
    const std::uint64_t left = piece.length > piece.address ? piece.length - piece.address : 0;
    const auto there = out.first(std::min<std::uint64_t>(out.size(), left));
    std::fill(out.begin() + static_cast<std::ptrdiff_t>(there.size()), out.end(), std::byte{0});
    return read_fully(piece.file, piece.address, there);
  }

  const format::KeyedHash& hash;
  std::vector<Page> pages;
  std::vector<Piece> pieces;
  // Of the pages; not filled with zeros before.
  const std::unique_ptr<std::byte[]> bytes =
      std::make_unique_for_overwrite<std::byte[]>(kPagesOfBatch * kPageSize);
  std::vector<std::optional<format::Hash128>> hashes;  // likewise; null: zeros
  Status status;
};

PageWriter::PageWriter(format::RecordSink& out, unsigned threads)
    : out_(out), threads_(format::WorkerPool::thread_count(threads)), hash_(draw_secret()) {}
PageWriter::~PageWriter() = default;

Status PageWriter::add(std::int32_t objref, int file, std::span<const PageRange> ranges,
                       std::uint64_t length, const PageFrames& frames) {
  const auto space = static_cast<std::uint32_t>(spaces_.size());
  spaces_.push_back({objref, file, length, frames.scanner});
  std::array<std::uint64_t, kFramesAtOnce> numbers{};
  std::size_t known = 0;
  for (const PageRange& range : ranges)
    for (std::uint64_t at = range.begin; at < range.end;) {
      auto some = std::span<const std::uint64_t>(numbers).first(
          std::min((range.end - at) / kPageSize, kFramesAtOnce));
      if (!frames.known.empty()) {
        some = frames.known.subspan(known, some.size());
        known += some.size();
      } else if (frames.scanner) {
        CKPT_CHECK(frames.scanner->shared_frames(at, std::span(numbers).first(some.size())));
      }
      for (const std::uint64_t frame : some) {
        CKPT_CHECK(add_page(space, at, frame));
        at += kPageSize;
      }
    }
  return {};
}

Status PageWriter::add_page(std::uint32_t space, std::uint64_t address, std::uint64_t frame) {
  ++pages_;
  if (frame == 0) return read_page(space, address, kNone);
  const auto model = static_cast<std::uint32_t>(models_.size());
  const auto [known, is_new] = frames_.try_emplace(frame, model);
  if (!is_new) {
    append(twins_, address, space, known->second);
    return {};
  }
  models_.push_back({address, space, kNone});
  return read_page(space, address, model);
}

void PageWriter::append(std::vector<Run>& runs, std::uint64_t address, std::uint32_t space,
                        std::uint32_t first) {
  if (!runs.empty()) {
    Run& last = runs.back();
    const bool zeros = last.first == kZeroPages;
    const bool follows = zeros ? first == kZeroPages : last.first + last.count == first;
    if (last.space == space && last.address + last.count * kPageSize == address && follows) {
      ++last.count;
      return;
    }
  }
  runs.push_back({address, space, first, 1});
}

Status PageWriter::read_page(std::uint32_t space, std::uint64_t address, std::uint32_t model) {
  if (!filling_ && !spare_.empty()) {
    filling_ = std::move(spare_.back());
    spare_.pop_back();
    filling_->clear();
  }
  if (!filling_) filling_ = std::make_unique<Batch>(hash_);
  filling_->add(spaces_[space], {address, space, model});
  if (filling_->pages.size() < kPagesOfBatch) return {};
  submit();
  const std::size_t most = kBatchesOfThread * std::size_t{threads_};
  if (in_flight_.size() > most) pool_->wait(*in_flight_[most / 2]);
  while (!in_flight_.empty() && (in_flight_.size() > most || pool_->done(*in_flight_.front())))
    CKPT_CHECK(take());
  return {};
}

void PageWriter::submit() {
  if (!pool_) pool_ = std::make_unique<format::WorkerPool>(threads_);
  in_flight_.push_back(std::move(filling_));
  pool_->submit(*in_flight_.back());
}

// The batch that has been in flight for longest.
Status PageWriter::take() {
  Batch& batch = *in_flight_.front();
  if (pool_) pool_->wait(batch);
  CKPT_CHECK(batch.status);
  std::vector<std::uint32_t> fresh;  // indices in the batch
  for (std::uint32_t i = 0; i < batch.pages.size(); ++i) {
    const Page& page = batch.pages[i];
    std::uint32_t content = kZeroPages;
    bool is_new = false;
    if (batch.hashes[i]) {
      const auto known = known_.try_emplace(*batch.hashes[i], contents_);
      content = known.first->second;
      is_new = known.second;
    }
    if (is_new) {
      fresh.push_back(i);
      ++contents_;
    } else {
      append(repeats_, page.address, page.space, content);
    }
    if (page.model != kNone) models_[page.model].content = content;
  }
  if (!fresh.empty()) write_new(batch, fresh);
  spare_.push_back(std::move(in_flight_.front()));
  in_flight_.pop_front();
  return out_.status();
}

Status PageWriter::take_all() {
  if (filling_ && !filling_->pages.empty()) {
    if (pool_) {
      submit();
    } else {  // the only one
      filling_->run();
      in_flight_.push_back(std::move(filling_));
    }
  }
  while (!in_flight_.empty()) CKPT_CHECK(take());
  return {};
}

// An array of those pages of a batch that stand for the others with their content.
void PageWriter::write_new(const Batch& batch, std::span<const std::uint32_t> pages) {
  std::vector<Run> runs;
  for (std::uint32_t i = 0; i < pages.size(); ++i)
    append(runs, batch.pages[pages[i]].address, batch.pages[pages[i]].space, i);
  write_refs(runs, static_cast<std::uint32_t>(pages.size()));
  out_.begin(format::RecordType::buffer, pages.size() * kPageSize);
  for (std::size_t i = 0; i < pages.size();) {
    std::size_t n = 1;
    while (i + n < pages.size() && pages[i + n] == pages[i] + n) ++n;
    out_.append(batch.page(pages[i]).data(), n * kPageSize);
    i += n;
  }
}

void PageWriter::write_refs(std::span<const Run> runs, std::uint32_t nr_pages) {
  std::vector<PageRef> refs(runs.size());
  for (std::size_t i = 0; i < runs.size(); ++i) {
    refs[i].address = runs[i].address;
    refs[i].objref = spaces_[runs[i].space].objref;
    refs[i].first = runs[i].first;
    refs[i].count = runs[i].count;
  }
  format::Pgarr head{};
  head.nr_pages = nr_pages;
  head.nr_refs = static_cast<std::uint32_t>(refs.size());
  out_.record(format::RecordType::pgarr, head);
  out_.record(format::RecordType::buffer, refs.data(), refs.size() * sizeof refs[0]);
}

Result<std::vector<std::uint64_t>> PageWriter::frames_of_models() const {
  std::vector<std::uint64_t> frames(models_.size());
  for (std::size_t i = 0; i < models_.size();) {
    const Model* const model = &models_[i];
    std::size_t n = 1;
    while (i + n < models_.size() && model[n].space == model->space &&
           model[n].address == model->address + n * kPageSize)
      ++n;
    CKPT_CHECK(spaces_[model->space].frames->shared_frames(model->address,
                                                           std::span(frames).subspan(i, n)));
    i += n;
  }
  return frames;
}

// A frame may have become another page's since it was looked at: the kernel moves pages. But who
// has now, at the end, the frame that its model has before and after that, is one page with it, and
// has not changed. Others are read.
Status PageWriter::resolve_twins() {
  if (twins_.empty()) return {};
  CKPT_TRY(const auto before, frames_of_models());
  std::vector<std::vector<std::uint64_t>> frames(twins_.size());
  const auto look = [&](std::size_t begin, std::size_t end) -> Status {
    for (std::size_t i = begin; i < end; ++i) {
      frames[i].resize(twins_[i].count);
      CKPT_CHECK(spaces_[twins_[i].space].frames->shared_frames(twins_[i].address, frames[i]));
    }
    return {};
  };
  CKPT_CHECK(in_parts(twins_.size(), look));
  CKPT_TRY(const auto after, frames_of_models());
  std::vector<Page> others;
  for (std::size_t r = 0; r < twins_.size(); ++r) {
    const Run& run = twins_[r];
    for (std::uint32_t i = 0; i < run.count; ++i) {
      const std::uint64_t at = run.address + i * kPageSize, frame = frames[r][i];
      const std::uint32_t model = run.first + i;
      if (frame != 0 && frame == before[model] && frame == after[model])
        append(repeats_, at, run.space, models_[model].content);
      else
        others.push_back({at, run.space, kNone});
    }
  }
  for (const Page& page : others) CKPT_CHECK(read_page(page.space, page.address, kNone));
  return take_all();
}

void PageWriter::write_repeats() {
  std::sort(repeats_.begin(), repeats_.end(), [](const Run& a, const Run& b) {
    return a.space != b.space ? a.space < b.space : a.address < b.address;
  });
  for (auto rest = std::span<const Run>(repeats_); !rest.empty();) {
    const auto some = rest.first(std::min(rest.size(), kRefsOfArray));
    write_refs(some, 0);
    rest = rest.subspan(some.size());
  }
}

Status PageWriter::finish() {
  CKPT_CHECK(take_all());
  CKPT_CHECK(resolve_twins());
  write_repeats();
  return out_.status();
}

}  // namespace ckpt::host
