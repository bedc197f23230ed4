// The bodies of a frozen tree's tasks on their way into an image: what was gathered, as records.
#pragma once

#include <unordered_map>
#include <unordered_set>

#include "core/checkpoint.h"
#include "core/host/contents.h"
#include "core/host/spaces.h"

namespace ckpt::host {

struct GatherOptions {
  bool to_be_ended = false;  // nobody has to be put back where he was, unless the dump fails
  std::uint64_t deleted_limit = 64ULL << 20;  // bytes of a deleted file, holes not counted
};

class Bodies : public core::TaskBodies {
 public:
  // `tree` stays frozen as long as this lives.
  static Result<std::unique_ptr<Bodies>> gather(FrozenTree& tree,
                                                const GatherOptions& options = {});
  // All threads are where they were, if they were not by then.
  ~Bodies() override;
  // The processes are killed: nobody will be put back.
  void abandon();

  [[nodiscard]] const std::vector<Obstacle>& obstacles() const { return obstacles_; }
  // What the image may not hold as it is, though nothing is in the way.
  [[nodiscard]] std::vector<std::string> warnings() const;
  // What is known of a machine's processes beyond their mirror: job control's stops, subreapers.
  // What their pipes and files without a name hold. Error of kind cannot if that cannot be had.
  Status complete(core::Process& root);
  [[nodiscard]] std::uint64_t pages() const { return pages_; }        // written
  [[nodiscard]] std::uint64_t contents() const { return contents_; }  // that differ

  [[nodiscard]] std::uint64_t features() const override;
  void write_platform(format::RecordSink& out, const core::ObjHash& objhash) override;
  void fill(const core::Task& task, format::Task& record) override;
  void write_task(format::RecordSink& out, const core::Task& task, core::ObjHash& objhash,
                  format::TaskObjs& objs) override;
  Status write_contents(format::RecordSink& out, core::ObjHash& objhash) override;

  // The pages of a process's own, ascending; and their frames, if others may have the same and they
  // are not too many to be held.
  struct OwnPages {
    std::vector<PageRange> ranges;
    std::vector<std::uint64_t> frames;
  };

 private:
  // Something with an objref and nothing else.
  class Anchor : public core::Object {};
  struct Shared {
    core::Ref<Anchor> anchor;
    pid_t pid = 0;
    const Mapping* mapping = nullptr;
    std::uint64_t size = 0;
  };
  struct PipeEnd {
    core::Ref<core::Pipe> pipe;
    pid_t pid = 0;
    int fd = -1;
    bool reads = false;
    std::uint32_t capacity = 0;  // bytes, once it has been read
  };
  explicit Bodies(FrozenTree& tree) : tree_(tree) {}
  Status gather_all(const GatherOptions& options);
  Status find_own_pages();
  void note_file(const core::Fd& fd, const ProcessState& state);
  void note_socket(const core::Ref<core::File>& file);
  void write_mm(format::RecordSink& out, std::size_t process, core::ObjHash& objhash);
  std::int32_t write_cred(format::RecordSink& out, const format::ImageCred& cred,
                          core::ObjHash& objhash);
  Status read_pipe(PipeEnd& end) const;
  void write_owners(format::RecordSink& out, const core::ObjHash& objhash) const;
  void write_inodes(format::RecordSink& out, core::ObjHash& objhash);
  Status write_pages(format::RecordSink& out, core::ObjHash& objhash);

  FrozenTree& tree_;
  std::vector<ProcessState> processes_;
  std::vector<OwnPages> own_pages_;  // in the same order
  std::vector<Obstacle> obstacles_;
  Spaces spaces_;
  std::map<std::uint64_t, core::PidNs*> pid_namespaces_;              // by inode
  std::map<pid_t, std::size_t> process_of_;                           // by the pid of any thread
  std::vector<std::array<core::Ref<Anchor>, 3>> anchors_;             // mm, sighand, signal
  std::map<std::pair<std::uint64_t, std::uint64_t>, Shared> shared_;  // by device and inode
  Contents contents_of_files_;
  struct Inode {
    core::Ref<Anchor> anchor = new Anchor;
    std::vector<core::Ref<core::File>> files;
  };
  std::map<UnnamedFiles::Key, Inode> inodes_;       // all unnamed files
  std::map<std::string, core::Ref<Anchor>> creds_;  // by their bytes
  std::vector<PipeEnd> pipes_;  // one end of each; that of a reader, if there is
  std::unordered_map<const core::Pipe*, std::size_t> known_pipes_;  // index in it
  // The insides of files, each once.
  std::vector<std::pair<core::Ref<core::File>, const format::ImageFileState*>> file_states_;
  std::unordered_set<const core::File*> with_state_;
  std::vector<std::pair<core::Ref<core::File>, const FileOwner*>> file_owners_;
  std::map<std::uint64_t, core::Ref<core::Pipe>> ways_;  // what comes in, by a socket's inode
  std::vector<std::pair<core::Ref<core::File>, const format::ImageSocket*>> sockets_;
  std::map<pid_t, core::Ref<core::Pid>> pids_;  // of the tree's threads, processes and groups
  std::uint64_t pages_ = 0, contents_ = 0;
};

}  // namespace ckpt::host
