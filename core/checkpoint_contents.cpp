// The records behind all tasks: socket pairs, advisory locks, what is in flight in pipes.
#include <algorithm>

#include "core/checkpoint.h"

namespace ckpt::core {

using namespace format;

namespace {

template <class Owner>
bool locks_something(const File& file, const Owner& owner) {
  if (!file.inode) return false;
  const auto locks = file.inode->locks.all();
  return std::any_of(locks.begin(), locks.end(),
                     [&](const Lock& lock) { return lock.owner == &owner; });
}

bool holds_something(const Pipe& pipe) {
  return pipe.uncertain || pipe.in_flight() > 0;
}

}  // namespace

// While collecting: HEADER's features say beforehand what will come.
void Checkpoint::look_for_contents(const FdTable& table) {
  has_files_ = true;
  for (const Fd& fd : table.fds()) {
    const File& file = *fd.file;
    has_locks_ |= locks_something(file, table) || locks_something(file, file);
    if (!file.pipe) continue;
    has_pipes_ |= holds_something(*file.pipe);
    if (!file.out) continue;
    ways_in_.insert(file.pipe.get());
    ways_out_.insert(file.out.get());
    has_pipes_ |= ways_out_.contains(file.pipe.get()) || ways_in_.contains(file.out.get());
  }
}

void Checkpoint::note_contents(const File& file, bool pipe_is_new) {
  if (file.out) sockets_.push_back(&file);
  if (locks_something(file, file)) lockers_.push_back(&file);
  if (pipe_is_new && holds_something(*file.pipe)) pipes_.push_back(file.pipe.get());
}

void Checkpoint::note_locks(const FdTable& table) {
  for (const Fd& fd : table.fds())
    if (locks_something(*fd.file, table)) return locking_tables_.push_back(&table);
}

void Checkpoint::write_socket_pairs(RecordSink& out) const {
  for (const File* file : sockets_) {
    SocketPair r{};
    r.one = objhash_.lookup(*file->pipe);
    r.other = objhash_.lookup(*file->out);
    // Each pair once; the other end may be closed, or outside.
    if (r.other > r.one) out.record(RecordType::socket_pair, r);
  }
}

void Checkpoint::write_locks(RecordSink& out) const {
  const auto write_all = [&](const File& file, const Object& owner, std::int32_t table) {
    for (const Lock& lock : file.inode->locks.all()) {
      if (lock.owner != &owner) continue;
      FileLock r{};
      r.kind = lock.kind;
      r.exclusive = lock.exclusive ? 1 : 0;
      r.start = lock.start;
      r.end = lock.end;
      r.file_objref = objhash_.lookup(file);
      r.table_objref = table;
      out.record(RecordType::file_lock, r);
    }
  };
  for (const FdTable* table : locking_tables_) {
    std::vector<const Inode*> done;
    for (const Fd& fd : table->fds()) {
      const Inode* inode = fd.file->inode.get();
      if (!locks_something(*fd.file, *table) || std::ranges::find(done, inode) != done.end())
        continue;
      done.push_back(inode);
      write_all(*fd.file, *table, objhash_.lookup(*table));
    }
  }
  for (const File* file : lockers_) write_all(*file, *file, 0);
}

void Checkpoint::write_pipes(RecordSink& out) const {
  for (const Pipe* pipe : pipes_) {
    PipeBuf r{};
    r.pipe_objref = objhash_.lookup(*pipe);
    if (pipe->uncertain) {
      r.flags = kPipeUncertain;
      out.record(RecordType::pipe_buf, r);
      continue;
    }
    for (const PipePiece& piece : pipe->pieces()) {
      r.flags = piece.known() ? 0U : kPipeBytesUnknown;
      r.length = piece.length;
      out.record(RecordType::pipe_buf, r);
      if (piece.known()) out.record(RecordType::buffer, piece.bytes.data(), piece.bytes.size());
    }
  }
}

}  // namespace ckpt::core
