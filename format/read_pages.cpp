// ImageReader, last part: pages, which follow all metadata.
#include <algorithm>

#include "format/hash.h"
#include "format/image_reader.h"

namespace ckpt::format {

Status ImageReader::read_memory() {
  contents_at_ = record_.offset;
  CKPT_CHECK(read_insides());
  while (at(RecordType::pgarr)) CKPT_CHECK(read_pages());
  return {};
}

// A reference is to pages of the array, and its addresses lie in one mapping of the address space.
Status ImageReader::check_page_ref(const PageRef& ref, std::uint64_t nr_pages) const {
  if (ref.count == 0 || ref.address % kPageSize != 0) return bad("an empty or unaligned reference");
  if (ref.first != kZeroPages && std::uint64_t{ref.first} + ref.count > nr_pages)
    return bad("a reference to pages that the array does not have");
  const std::uint64_t begin = ref.address, size = std::uint64_t{ref.count} * kPageSize;
  if (const auto shm = shm_index_.find(ref.objref); shm != shm_index_.end()) {
    const std::uint64_t room = image_.process.shms[shm->second].size;
    if (begin <= room && size <= room - begin) return {};
    return bad("a reference beyond the end of a shared memory");
  }
  if (const auto inode = inode_index_.find(ref.objref); inode != inode_index_.end()) {
    const std::uint64_t length = image_.process.inodes[inode->second].inode.size;
    const std::uint64_t room = (length + kPageSize - 1) / kPageSize * kPageSize;
    if (begin <= room && size <= room - begin) return {};
    return bad("a reference beyond the end of a file");
  }
  const auto found = mm_index_.find(ref.objref);
  if (found == mm_index_.end())
    return bad("objref " + std::to_string(ref.objref) + " is no address space");
  const auto& vmas = image_.process.mms[found->second].vmas;
  const auto above = std::upper_bound(
      vmas.begin(), vmas.end(), begin,
      [](std::uint64_t address, const ImageVma& v) { return address < v.vma.vm_start; });
  if (above != vmas.begin()) {
    const Vma& vma = std::prev(above)->vma;
    if (vma.vma_type <= kVmaFile && begin <= vma.vm_end && size <= vma.vm_end - begin) return {};
  }
  return bad("a reference to an address where no private mapping is");
}

// The digest is a sum, so that it does not depend on the order of the references.
void ImageReader::count_pages(const PageRef& ref, const std::vector<std::uint64_t>& hashes) {
  std::uint64_t sum = 0;
  for (std::uint32_t i = 0; i < ref.count; ++i) {
    const std::uint64_t content = ref.first == kZeroPages ? 0 : hashes[ref.first + i];
    const std::uint64_t words[2] = {ref.address + i * kPageSize, content};
    sum += hash64(std::as_bytes(std::span(words)), 0);
  }
  const auto add = [&](auto& owner) {
    owner.pages += ref.count;
    owner.digest += sum;
  };
  if (const auto shm = shm_index_.find(ref.objref); shm != shm_index_.end())
    add(image_.process.shms[shm->second]);
  else if (const auto inode = inode_index_.find(ref.objref); inode != inode_index_.end())
    add(image_.process.inodes[inode->second]);
  else
    add(image_.process.mms[mm_index_.at(ref.objref)]);
}

Status ImageReader::read_pages() {
  Pgarr head{};
  CKPT_CHECK(take(RecordType::pgarr, head));
  const std::uint64_t nr_pages = head.nr_pages;
  if (nr_pages > kMaxPagesOfArray) return bad("nr_pages is above 4096");
  if (head.nr_refs == 0 || head.nr_refs > kMaxRefsOfArray) return bad("nr_refs is out of range");
  CKPT_CHECK(advance());
  std::vector<PageRef> refs;
  if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
  if (record_.payload.size() != std::size_t{head.nr_refs} * sizeof(PageRef))
    return bad("a buffer that does not hold nr_refs references");
  refs.resize(head.nr_refs);
  std::memcpy(refs.data(), record_.payload.data(), record_.payload.size());
  for (const PageRef& ref : refs) CKPT_CHECK(check_page_ref(ref, nr_pages));
  CKPT_CHECK(advance());

  std::span<const std::byte> pages;
  if (nr_pages > 0) {
    if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
    pages = record_.payload;
    if (pages.size() != nr_pages * kPageSize) return bad("a buffer that does not hold nr_pages");
  }
  std::vector<std::uint64_t> hashes;
  for (std::uint64_t i = 0; i < nr_pages; ++i)
    hashes.push_back(hash64(pages.subspan(i * kPageSize, kPageSize), 0));
  for (const PageRef& ref : refs) count_pages(ref, hashes);
  if (pages_) CKPT_CHECK(pages_->pages(pages, refs));
  return nr_pages > 0 ? advance() : Status{};
}

}  // namespace ckpt::format
