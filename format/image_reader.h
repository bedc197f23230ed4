// The reader behind read_image(): one record of look-ahead over a RecordSource. Internal to
// format/. read_image.cpp reads the head, pids and tree; read_tasks.cpp the tasks and their
// objects; read_process.cpp what they are made of; read_contents.cpp what stands behind them;
// read_insides.cpp what open files hold; read_pages.cpp the pages at the end.
//
// Invariant: record_ is the first record not yet taken; whoever reads its payload does so before
// advance(). Every reference is checked when it is read, so objects stand before their users.
#pragma once

#include <unordered_set>

#include "format/image.h"
#include "format/objrefs.h"

namespace ckpt::format {

// For errors: "0x1f", "-31".
std::string hex(std::uint64_t n);
std::string number(std::int64_t n);

class ImageReader {
 public:
  ImageReader(RecordSource& source, PageSink* pages) : source_(source), pages_(pages) {}
  Result<Image> read();

 private:
  // read_image.cpp
  Status advance();
  [[nodiscard]] bool at(RecordType type) const {
    return record_.type == static_cast<std::uint32_t>(type);
  }
  [[nodiscard]] Error bad(const std::string& why) const;
  [[nodiscard]] Error unexpected(RecordType wanted) const;
  Status check_length(std::size_t expected);
  // The payload of the present record, which must be of this type; then the next record.
  template <class T>
  Status take(RecordType type, T& out) {
    if (!at(type)) return unexpected(type);
    if (record_.payload.size() != sizeof out) CKPT_CHECK(check_length(sizeof out));
    std::memcpy(&out, record_.payload.data(), sizeof out);
    return {};
  }
  Status take_text(RecordType type, std::string& out);
  Status check_text();
  Status read_header();
  Status read_uts(std::string& out);
  Status read_pids();
  Status read_pid_entries(std::uint32_t count, std::uint64_t vpids);
  Status read_tree();
  Status check_entry(const TreeEntry& entry) const;
  Status read_namespaces();
  Status read_namespace_map();
  Status check_features();
  Status read_tail();
  Status define(std::int32_t ref, ObjKind kind);

  // read_tasks.cpp
  Status read_tasks();
  Status read_task();
  Status read_kin();
  Status read_nodes();
  Status read_task_node();
  Status read_object();
  Status read_file_table(std::int32_t ref);
  Status read_file_desc(ImageFileTable& table);
  Status read_file(std::int32_t ref);
  Status read_fs(std::int32_t ref);
  Status read_task_objs();

  // read_process.cpp
  Status read_platform();
  Status read_space();
  Status read_task_spaces();
  Status read_placement(ImageThread& thread);
  Status take_bytes(std::size_t least, std::size_t most, std::vector<std::byte>& out);
  // A BUFFER of exactly `count` elements.
  template <class T>
  Status take_array(std::size_t count, std::vector<T>& out) {
    if (!at(RecordType::buffer)) return unexpected(RecordType::buffer);
    if (record_.payload.size() != count * sizeof(T))
      return bad("a buffer of " + std::to_string(record_.payload.size()) + " bytes does not hold " +
                 std::to_string(count) + " entries");
    out.resize(count);
    if (count > 0) std::memcpy(out.data(), record_.payload.data(), record_.payload.size());
    return advance();
  }
  Status read_process_object(const Objref& announced);
  Status read_mm(std::int32_t ref);
  Status read_guards(ImageMm& mm);
  Status read_vma(ImageMm& mm);
  Status check_vma(const ImageMm& mm, const Vma& vma) const;
  Status define_shm(const Vma& vma);
  Status read_sighand(std::int32_t ref);
  Status read_signal(std::int32_t ref);
  Status read_pending(std::vector<Siginfo>& out);
  Status read_cred(std::int32_t ref);
  Status read_thread();
  Status check_process_objs(const TaskObjs& objs) const;

  // read_insides.cpp
  Status read_insides();
  Status read_pipe_size();
  Status read_file_state();
  Status read_socket();
  Status read_inode();
  Status read_file_owner();

  // read_pages.cpp
  Status read_memory();
  Status read_pages();
  Status check_page_ref(const PageRef& ref, std::uint64_t nr_pages) const;
  void count_pages(const PageRef& ref, std::span<const std::uint64_t> hashes);
  // read_contents.cpp
  Status read_contents();
  Status read_socket_pair();
  Status read_lock();
  Status read_pipe_buf();
  Status read_request();
  Status read_trace();
  [[nodiscard]] bool is_kind(std::int32_t ref, ObjKind kind) const {
    return refs_.kind(ref) == kind;
  }

  RecordSource& source_;
  PageSink* pages_;
  RecordView record_;
  Image image_;
  Objrefs refs_;
  std::unordered_map<std::int32_t, std::size_t> mm_index_, shm_index_,
      inode_index_;                                    // by objref
  std::unordered_set<std::int32_t> announced_inodes_;  // by VMAs; their INODEs are still to come
  std::unordered_set<std::int32_t> files_of_inodes_;
  std::uint64_t contents_at_ = 0;  // offset in the stream where the contents begin; 0: not yet
  std::uint64_t vpids_ = 0;        // nr_vpids of PIDS
  std::uint64_t texts_ = 0;        // bytes of the texts read
  std::uint64_t in_flight_ = 0;    // in all pipes
  std::vector<std::uint64_t> page_hashes_;            // of all pages read
  std::unordered_set<std::int32_t> asking_;           // LWPs with a synchronous REQUEST
  std::unordered_set<std::int32_t> paired_, filled_;  // pipes of a SOCKET_PAIR, a PIPE_BUF
  bool newer_minor_ = false;                          // records may be longer than ours
};

}  // namespace ckpt::format
