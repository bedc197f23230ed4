// The file side of compare(): fds and file system contexts of tasks that were matched.
#include <algorithm>
#include <iterator>
#include <map>
#include <tuple>

#include "format/describe.h"
#include "restart/compare_parts.h"

namespace ckpt::restart {

using format::Image;

namespace {

struct FilesSide {
  explicit FilesSide(const Image& i) : image(i), files(i.files), tables(i.file_tables), fs(i.fs) {
    for (const format::ImageInode& inode : i.process.inodes)
      for (const std::int32_t file : inode.files) inodes[file] = &inode;
    for (const format::ImageSocket& socket : i.process.sockets)
      sockets[socket.socket.file_objref] = &socket;
  }
  const Image& image;
  Index<format::ImageFile> files;
  Index<format::ImageFileTable> tables;
  Index<format::ImageFs> fs;
  std::map<std::int32_t, const format::ImageInode*> inodes;    // by FILE
  std::map<std::int32_t, const format::ImageSocket*> sockets;  // likewise
};

class FileComparer {
 public:
  FileComparer(const Image& a, const Forest& fa, const Image& b, Differences& out)
      : a_(a), b_(b), fa_(fa), out_(out) {}

  void task(std::uint32_t i, std::uint32_t j) {
    const format::TaskObjs &x = a_.image.objs[i], &y = b_.image.objs[j];
    if (!a_.image.requests.empty()) pids_[a_.image.tree[i].pid] = b_.image.tree[j].pid;
    if (x.files_objref != 0 || y.files_objref != 0) table(i, x.files_objref, y.files_objref);
    if (x.fs_objref != 0 || y.fs_objref != 0) context(i, x.fs_objref, y.fs_objref);
  }
  // What is no single task's, of the files that were matched.
  void contents() {
    pipe_contents();
    socket_pairs();
    locks();
    requests();
  }

 private:
  void differ(std::uint32_t i, const std::string& what, std::string x, std::string y) {
    out_.add("task " + task_text(a_.image, fa_, i) + ": " + what, std::move(x), std::move(y));
  }

  void table(std::uint32_t i, std::int32_t x, std::int32_t y) {
    const auto *s = a_.tables.find(x), *t = b_.tables.find(y);
    if (!s || !t) {
      if (s || t) differ(i, "fd table", s ? "present" : "none", t ? "present" : "none");
      return;
    }
    const bool seen = !tables_.to(x).empty();
    if (!tables_.same(x, y)) {
      differ(i, "fd table", "shared with other tasks", "shared otherwise");
      return;
    }
    if (seen) return;
    auto p = s->fds.begin(), q = t->fds.begin();
    while ((p != s->fds.end() || q != t->fds.end()) && !out_.full()) {
      const bool only_a =
          q == t->fds.end() || (p != s->fds.end() && p->fd_descriptor < q->fd_descriptor);
      const bool only_b =
          p == s->fds.end() || (q != t->fds.end() && q->fd_descriptor < p->fd_descriptor);
      if (only_a) {
        differ(i, fd_text(*p), name(a_, p->fd_objref), "absent");
        ++p;
      } else if (only_b) {
        differ(i, fd_text(*q), "absent", name(b_, q->fd_objref));
        ++q;
      } else {
        fd(i, *p++, *q++);
      }
    }
  }

  static std::string fd_text(const format::FileDesc& d) {
    return "fd " + std::to_string(d.fd_descriptor);
  }
  static std::string name(const FilesSide& side, std::int32_t ref) {
    const auto* file = side.files.find(ref);
    if (!file) return "nothing";
    return file->path.empty() ? "a file without a name" : file->path;
  }

  void fd(std::uint32_t i, const format::FileDesc& x, const format::FileDesc& y) {
    const std::string where = fd_text(x);
    if (x.fd_close_on_exec != y.fd_close_on_exec)
      differ(i, where + ": close-on-exec", x.fd_close_on_exec ? "yes" : "no",
             y.fd_close_on_exec ? "yes" : "no");
    const auto *s = a_.files.find(x.fd_objref), *t = b_.files.find(y.fd_objref);
    if (!s || !t) return;
    const bool seen = !files_.to(x.fd_objref).empty();
    if (!files_.same(x.fd_objref, y.fd_objref)) {
      if (s->path != t->path)
        differ(i, where, name(a_, x.fd_objref), name(b_, y.fd_objref));
      else
        differ(i, where + ": open file description", "shared with other fds", "shared otherwise");
    } else if (!seen) {
      file(i, where, *s, *t);
    }
  }

  void file(std::uint32_t i, const std::string& where, const format::ImageFile& s,
            const format::ImageFile& t) {
    const format::File &x = s.file, &y = t.file;
    if (s.path != t.path) differ(i, where, name(a_, s.ref), name(b_, t.ref));
    const auto field = [&](const char* what, std::uint64_t p, std::uint64_t q) {
      if (p != q) differ(i, where + ": " + what, std::to_string(p), std::to_string(q));
    };
    field("type", x.f_type, y.f_type);
    field("mode", x.f_mode, y.f_mode);
    field("flags", x.f_flags, y.f_flags);
    field("offset", x.f_pos, y.f_pos);
    field("version", x.f_version, y.f_version);
    field("deleted", x.deleted, y.deleted);
    field("device", x.dev, y.dev);
    // dev 0: numbers of the machine's own, which are but names.
    if (x.dev != 0 || y.dev != 0 || (x.ino == 0) != (y.ino == 0))
      field("inode", x.ino, y.ino);
    else if (x.ino != 0 && !inodes_.same(x.ino, y.ino))
      differ(i, where + ": inode", "shared with other files", "shared otherwise");
    field("size", x.size, y.size);
    field("modification time", static_cast<std::uint64_t>(std::int64_t{x.mtime_ns}),
          static_cast<std::uint64_t>(std::int64_t{y.mtime_ns}));
    contents(i, where, s.ref, t.ref);
    socket(i, where, s.ref, t.ref);
    const std::int32_t p = x.pipe_objref, q = y.pipe_objref;
    if ((p == 0) != (q == 0) || (p != 0 && !pipes_.same(p, q)))
      differ(i, where + ": pipe", std::to_string(p), std::to_string(q));
  }

  // Of files without a name; images of a model have none.
  void contents(std::uint32_t i, const std::string& where, std::int32_t x, std::int32_t y) {
    const auto s = a_.inodes.find(x), t = b_.inodes.find(y);
    if (s == a_.inodes.end() || t == b_.inodes.end()) return;
    const format::ImageInode &p = *s->second, &q = *t->second;
    if (p.inode.size != q.inode.size || p.digest != q.digest)
      differ(i, where + ": contents", std::to_string(p.inode.size) + " bytes",
             "others, " + std::to_string(q.inode.size) + " bytes");
    if (p.inode.mode != q.inode.mode || p.inode.uid != q.inode.uid || p.inode.gid != q.inode.gid ||
        p.inode.seals != q.inode.seals)
      differ(i, where + ": mode, owner or seals", "other", "other");
  }

  // Of sockets whose inside is in the image; those of a model have none.
  void socket(std::uint32_t i, const std::string& where, std::int32_t x, std::int32_t y) {
    const auto s = a_.sockets.find(x), t = b_.sockets.find(y);
    if (s == a_.sockets.end() || t == b_.sockets.end()) return;
    const format::ImageSocket &p = *s->second, &q = *t->second;
    const auto field = [&](const std::string& what, std::int64_t m, std::int64_t n) {
      if (m != n) differ(i, where + ": socket's " + what, std::to_string(m), std::to_string(n));
    };
    field("type", p.socket.type, q.socket.type);
    field("peer", p.socket.peer, q.socket.peer);
    field("shutdown", p.socket.shutdown, q.socket.shutdown);
    field("pending error", p.socket.error, q.socket.error);
    field("creator's uid", p.socket.peer_uid, q.socket.peer_uid);
    field("creator's gid", p.socket.peer_gid, q.socket.peer_gid);
    field("messages", p.socket.nr_messages, q.socket.nr_messages);
    if (p.messages.size() == q.messages.size() && p.messages != q.messages)
      differ(i, where + ": lengths of messages", "other", "other");
    std::map<std::uint32_t, std::pair<std::int64_t, std::int64_t>> options;
    for (const format::SocketOption& o : p.options) options[o.option].first = o.value;
    for (const format::SocketOption& o : q.options) options[o.option].second = o.value;
    for (const auto& [option, values] : options)
      field("option " + std::to_string(option), values.first, values.second);
  }

  void context(std::uint32_t i, std::int32_t x, std::int32_t y) {
    const auto *s = a_.fs.find(x), *t = b_.fs.find(y);
    if (!s || !t) {
      if (s || t) differ(i, "file system context", s ? "present" : "none", t ? "present" : "none");
      return;
    }
    const bool seen = !contexts_.to(x).empty();
    if (!contexts_.same(x, y)) {
      differ(i, "file system context", "shared with other tasks", "shared otherwise");
      return;
    }
    if (seen) return;
    if (s->root != t->root) differ(i, "root directory", s->root, t->root);
    if (s->cwd != t->cwd) differ(i, "working directory", s->cwd, t->cwd);
    if (s->fs.umask != t->fs.umask || s->fs.umask_known != t->fs.umask_known) {
      const auto text = [](const format::Fs& fs) {
        return fs.umask_known ? std::to_string(fs.umask) : std::string("unknown");
      };
      differ(i, "umask", text(s->fs), text(t->fs));
    }
  }

  // Pieces by pipe.
  using Pieces = std::map<std::int32_t, std::vector<const format::ImagePipeBuf*>>;
  static Pieces pieces_of(const Image& image) {
    Pieces pieces;
    for (const format::ImagePipeBuf& buf : image.pipe_bufs)
      pieces[buf.head.pipe_objref].push_back(&buf);
    return pieces;
  }
  static std::string in_flight(const std::vector<const format::ImagePipeBuf*>& pieces) {
    std::uint64_t bytes = 0;
    for (const format::ImagePipeBuf* buf : pieces) {
      if (buf->head.flags == format::kPipeUncertain) return "not known";
      bytes += buf->head.length;
    }
    return std::to_string(bytes) + " bytes";
  }

  void pipe_contents() {
    Pieces in_a = pieces_of(a_.image), in_b = pieces_of(b_.image);
    for (const format::ImageFile& file : a_.image.files) {
      const std::int32_t pipe = file.file.pipe_objref;
      for (const std::int32_t other : pipes_.to(pipe)) {
        const auto &x = in_a[pipe], &y = in_b[other];
        const auto same = [](const auto* p, const auto* q) {
          return p->head.flags == q->head.flags && p->head.length == q->head.length &&
                 p->bytes == q->bytes;
        };
        if (std::equal(x.begin(), x.end(), y.begin(), y.end(), same)) continue;
        const std::string s = in_flight(x), t = in_flight(y);
        out_.add("in flight in " + (file.path.empty() ? "a pipe" : file.path), s,
                 s == t ? "other " + t : t);
        in_a.erase(pipe);  // once for all its ends
        in_b.erase(other);
      }
    }
  }

  void socket_pairs() {
    std::map<std::int32_t, std::int32_t> peers;
    for (const format::SocketPair& pair : b_.image.socket_pairs) {
      peers[pair.one] = pair.other;
      peers[pair.other] = pair.one;
    }
    const auto missing = [&](std::int32_t one, std::int32_t other) {
      for (const std::int32_t x : pipes_.to(one))
        for (const std::int32_t y : pipes_.to(other)) {
          const auto at = peers.find(x);
          return at == peers.end() || at->second != y;
        }
      return false;
    };
    std::size_t found = 0;
    for (const format::SocketPair& pair : a_.image.socket_pairs) {
      if (missing(pair.one, pair.other)) out_.add("a socket pair", "connected", "not connected");
      ++found;
    }
    if (found != b_.image.socket_pairs.size())
      out_.add("number of socket pairs", std::to_string(found),
               std::to_string(b_.image.socket_pairs.size()));
  }

  // One by one, in the order in which they were asked. Whom a wait is for is compared where it is a
  // task.
  void requests() {
    const auto &in_a = a_.image.requests, &in_b = b_.image.requests;
    if (in_a.size() != in_b.size())
      return out_.add("requests under way", std::to_string(in_a.size()),
                      std::to_string(in_b.size()));
    const auto pid_in_b = [&](std::int32_t ref) {
      const auto at = pids_.find(ref);
      return at == pids_.end() ? ref : at->second;
    };
    for (std::size_t k = 0; k < in_a.size() && !out_.full(); ++k) {
      format::Request x = in_a[k], y = in_b[k];
      const auto file = files_.to(x.file_objref);
      if (pids_.contains(x.target))
        x.target = pid_in_b(x.target);
      else
        x.target = y.target = 0;
      x.process = pid_in_b(x.process);
      x.lwp = pid_in_b(x.lwp);
      x.file_objref = file.empty() ? 0 : file[0];
      if (!files_.has(y.file_objref)) y.file_objref = 0;
      if (!format::described_equal(x, y))
        out_.add("request " + std::to_string(k + 1), format::request_text(in_a[k], "a task"),
                 format::request_text(in_b[k], "a task"));
    }
  }

  // Owner, file, and the lock as text.
  using NamedLock = std::tuple<std::int32_t, std::int32_t, std::string>;

  void locks() {
    std::vector<NamedLock> in_a, in_b;
    for (const format::FileLock& lock : a_.image.locks) {
      const auto file = files_.to(lock.file_objref), table = tables_.to(lock.table_objref);
      if (file.empty() || (lock.table_objref != 0 && table.empty())) continue;  // said already
      in_a.emplace_back(table.empty() ? 0 : table[0], file[0], format::lock_text(lock));
    }
    for (const format::FileLock& lock : b_.image.locks)
      if (files_.has(lock.file_objref))
        in_b.emplace_back(lock.table_objref, lock.file_objref, format::lock_text(lock));
    std::sort(in_a.begin(), in_a.end());
    std::sort(in_b.begin(), in_b.end());
    const auto only = [](const auto& from, const auto& without) {
      std::vector<NamedLock> left;
      std::ranges::set_difference(from, without, std::back_inserter(left));
      return left;
    };
    for (const auto& [table, file, text] : only(in_a, in_b))
      out_.add("lock on " + name(b_, file), text, "none");
    for (const auto& [table, file, text] : only(in_b, in_a))
      out_.add("lock on " + name(b_, file), "none", text);
  }

  FilesSide a_, b_;
  const Forest& fa_;
  Differences& out_;
  Bijection<std::int32_t> tables_, files_, contexts_, pipes_;
  Bijection<std::uint64_t> inodes_;
  std::map<std::int32_t, std::int32_t> pids_;  // of the matched tasks, if there are requests
};

}  // namespace

void compare_files(const Image& a, const Forest& fa, const Image& b,
                   std::span<const TaskPair> tasks, Differences& out) {
  if (a.file_tables.empty() && b.file_tables.empty() && a.fs.empty() && b.fs.empty() &&
      a.requests.empty() && b.requests.empty())
    return;
  FileComparer comparer(a, fa, b, out);
  for (const auto& [i, j] : tasks) {
    if (out.full()) return;
    comparer.task(i, j);
  }
  if (!out.full()) comparer.contents();
}

}  // namespace ckpt::restart
