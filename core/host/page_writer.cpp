#include "core/host/page_writer.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ckpt::host {

namespace {

using format::kPageSize;
using format::PageRef;

constexpr std::size_t kBuffer = 1U << 20;        // bytes read at once
constexpr std::uint32_t kPagesOfArray = 256;     // 1 MiB, a frame
constexpr std::size_t kZerosOfArray = 1U << 16;  // references to zeros in one array

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

// The end of a file lies within a page.
Status PageWriter::read(const Space& space, std::uint64_t address, std::span<std::byte> out) {
  const std::uint64_t left = space.length > address ? space.length - address : 0;
  const auto there = out.first(std::min<std::uint64_t>(out.size(), left));
  std::fill(out.begin() + static_cast<std::ptrdiff_t>(there.size()), out.end(), std::byte{0});
  return read_fully(space.file, address, there);
}

PageWriter::PageWriter() : hash_(draw_secret()), buffer_(kBuffer) {}

void PageWriter::add(std::uint32_t space, std::uint64_t address, std::span<const std::byte> page) {
  ++pages_;
  std::uint32_t content = format::kZeroPages;
  if (!is_zero(page)) {
    const auto [at, is_new] =
        known_.try_emplace(hash_(page), static_cast<std::uint32_t>(first_.size()));
    content = at->second;
    if (is_new) first_.push_back({address, space, content});
  }
  places_.push_back({address, space, content});
}

Status PageWriter::collect(std::int32_t objref, int file, std::span<const PageRange> ranges,
                           std::uint64_t length) {
  const auto space = static_cast<std::uint32_t>(spaces_.size());
  spaces_.push_back({objref, file, length});
  for (const PageRange& range : ranges)
    for (std::uint64_t at = range.begin; at < range.end;) {
      const auto piece =
          std::span(buffer_).first(std::min<std::uint64_t>(range.end - at, buffer_.size()));
      CKPT_CHECK(read(spaces_.back(), at, piece));
      for (std::size_t i = 0; i < piece.size(); i += kPageSize)
        add(space, at + i, piece.subspan(i, kPageSize));
      at += piece.size();
    }
  return {};
}

// The references of contents first .. first + count - 1, or to zeros; pages that follow each other
// in both are one reference.
void PageWriter::write_refs(format::RecordSink& out, std::span<const Place> places,
                            std::uint32_t first, std::uint32_t count) const {
  std::vector<Place> sorted(places.begin(), places.end());
  std::sort(sorted.begin(), sorted.end(), [](const Place& a, const Place& b) {
    return a.space != b.space ? a.space < b.space : a.address < b.address;
  });
  std::vector<PageRef> refs;
  std::uint32_t last_space = 0;
  for (const Place& place : sorted) {
    const bool zero = place.content == format::kZeroPages;
    const std::uint32_t index = zero ? format::kZeroPages : place.content - first;
    if (!refs.empty()) {
      PageRef& last = refs.back();
      const bool follows = last_space == place.space &&
                           last.address + last.count * kPageSize == place.address &&
                           (zero || last.first + last.count == index);
      if (follows) {
        last.count = last.count + 1;
        continue;
      }
    }
    last_space = place.space;
    PageRef ref{};
    ref.address = place.address;
    ref.objref = spaces_[place.space].objref;
    ref.first = index;
    ref.count = 1;
    refs.push_back(ref);
  }
  format::Pgarr head{};
  head.nr_pages = count;
  head.nr_refs = static_cast<std::uint32_t>(refs.size());
  out.record(format::RecordType::pgarr, head);
  out.record(format::RecordType::buffer, refs.data(), refs.size() * sizeof refs[0]);
}

Status PageWriter::write_pages(format::RecordSink& out, std::uint32_t first, std::uint32_t count) {
  out.begin(format::RecordType::buffer, count * kPageSize);
  for (std::uint32_t i = 0; i < count;) {
    const Place& place = first_[first + i];
    std::uint32_t n = 1;
    while (i + n < count && first_[first + i + n].space == place.space &&
           first_[first + i + n].address == place.address + n * kPageSize)
      ++n;
    const auto piece = std::span(buffer_).first(n * kPageSize);
    const Status done = read(spaces_[place.space], place.address, piece);
    if (done.has_error()) {
      // The record was begun: it gets its bytes, and the dump fails.
      std::fill(piece.begin(), piece.end(), std::byte{0});
      for (; i < count; ++i) out.append(piece.data(), kPageSize);
      return done;
    }
    out.append(piece.data(), piece.size());
    i += n;
  }
  return {};
}

Status PageWriter::write(format::RecordSink& out) {
  std::sort(places_.begin(), places_.end(),
            [](const Place& a, const Place& b) { return a.content < b.content; });
  auto place = places_.cbegin();
  const auto contents = static_cast<std::uint32_t>(first_.size());
  for (std::uint32_t first = 0; first < contents; first += kPagesOfArray) {
    const std::uint32_t count = std::min(kPagesOfArray, contents - first);
    const auto begin = place;
    while (place != places_.cend() && place->content < first + count) ++place;
    write_refs(out, {begin, place}, first, count);
    CKPT_CHECK(write_pages(out, first, count));
  }
  while (place != places_.cend()) {
    const auto n =
        std::min<std::size_t>(static_cast<std::size_t>(places_.cend() - place), kZerosOfArray);
    write_refs(out, {place, place + static_cast<std::ptrdiff_t>(n)}, 0, 0);
    place += static_cast<std::ptrdiff_t>(n);
  }
  return out.status();
}

}  // namespace ckpt::host
