// ImageReader, second part: one group of records for each tree entry.
#include "format/image_reader.h"

namespace ckpt::format {

Status ImageReader::read_tasks() {
  const std::size_t count = image_.tree.size();
  image_.tasks.reserve(count);
  image_.comms.reserve(count);
  image_.objs.reserve(count);
  while (image_.tasks.size() < count) CKPT_CHECK(read_task());
  return {};
}

Status ImageReader::read_task() {
  Task task{};
  CKPT_CHECK(take(RecordType::task, task));
  if (task.exit_state != 0 && task.exit_state != kExitZombie)
    return bad("unknown exit_state " + std::to_string(task.exit_state));
  if (task.state != kTaskRunning && task.state != kTaskStopped)
    return bad("unknown state " + std::to_string(task.state));
  image_.tasks.push_back(task);
  CKPT_CHECK(advance());

  if (!at(RecordType::string)) return unexpected(RecordType::string);
  CKPT_CHECK(check_text());
  if (record_.payload.size() > kCommLen)
    return bad("comm has " + std::to_string(record_.payload.size()) + " bytes, more than 16");
  auto& comm = image_.comms.emplace_back();
  std::memcpy(comm.data(), record_.payload.data(), record_.payload.size());
  CKPT_CHECK(advance());

  if (at(RecordType::task_kin)) CKPT_CHECK(read_kin());
  if (at(RecordType::task_node)) CKPT_CHECK(read_task_node());
  if (image_.has_memory()) image_.process.threads.emplace_back();
  if (task.exit_state == kExitZombie) {
    image_.objs.push_back({});
    return {};
  }
  while (at(RecordType::objref)) CKPT_CHECK(read_object());
  if (image_.has_memory()) CKPT_CHECK(read_thread());
  return read_task_objs();
}

Status ImageReader::read_kin() {
  TaskKin kin{};
  CKPT_CHECK(take(RecordType::task_kin, kin));
  if (kin.child_ns != 0 && refs_.kind(kin.child_ns) != ObjKind::pid_ns)
    return bad("child_ns " + std::to_string(kin.child_ns) + " is no PID_NS");
  if (kin.subreaper > 2) return bad("unknown subreaper " + std::to_string(kin.subreaper));
  if (kin.exiting > 1) return bad("unknown exiting " + std::to_string(kin.exiting));
  image_.kin.emplace(static_cast<std::uint32_t>(image_.tasks.size() - 1), kin);
  return advance();
}

Status ImageReader::read_nodes() {
  while (at(RecordType::node)) {
    if (image_.nodes.size() == kMaxNodes)
      return bad("more than " + std::to_string(kMaxNodes) + " nodes");
    std::string name;
    CKPT_CHECK(take_text(RecordType::node, name));
    if (name.empty() || name.size() > kMaxNodeName)
      return bad("the name of a node before it is empty or too long");
    image_.nodes.push_back(std::move(name));
  }
  return {};
}

Status ImageReader::read_task_node() {
  TaskNode where{};
  CKPT_CHECK(take(RecordType::task_node, where));
  const auto task = static_cast<std::uint32_t>(image_.tasks.size() - 1);
  if (image_.tree[task].pid != image_.tree[task].tgid) return bad("a node of a thread");
  if (where.node == 0 || where.node >= image_.nodes.size())
    return bad("there is no node " + std::to_string(where.node));
  image_.task_nodes.emplace(task, where.node);
  return advance();
}

// OBJREF and the object's records.
Status ImageReader::read_object() {
  Objref announced{};
  CKPT_CHECK(take(RecordType::objref, announced));
  const std::int32_t ref = announced.objref;
  switch (announced.objtype) {
    case kObjFileTable:
      CKPT_CHECK(define(ref, ObjKind::file_table));
      CKPT_CHECK(advance());
      return read_file_table(ref);
    case kObjFs:
      CKPT_CHECK(define(ref, ObjKind::fs));
      CKPT_CHECK(advance());
      return read_fs(ref);
    case kObjFile:
      return bad("a file may stand only in a file table");
    case kObjMm:
    case kObjSighand:
    case kObjSignal:
    case kObjCred:
      if (!image_.has_memory()) return bad("HEADER does not announce memory");
      return read_process_object(announced);
    default:
      return bad("unknown object type " + std::to_string(announced.objtype));
  }
}

Status ImageReader::read_file_table(std::int32_t ref) {
  FileTable head{};
  CKPT_CHECK(take(RecordType::file_table, head));
  if (head.fdt_nfds < 0) return bad("fdt_nfds is negative");
  CKPT_CHECK(advance());
  const auto count = static_cast<std::uint32_t>(head.fdt_nfds);
  ImageFileTable table;
  table.ref = ref;
  table.fds.reserve(std::min<std::uint32_t>(count, 64));  // the rest as they come
  while (table.fds.size() < count) CKPT_CHECK(read_file_desc(table));
  image_.file_tables.push_back(std::move(table));
  return {};
}

Status ImageReader::read_file_desc(ImageFileTable& table) {
  if (at(RecordType::objref)) {
    Objref announced{};
    CKPT_CHECK(take(RecordType::objref, announced));
    if (announced.objtype != kObjFile) return bad("only a file may be announced in a file table");
    CKPT_CHECK(define(announced.objref, ObjKind::file));
    CKPT_CHECK(advance());
    CKPT_CHECK(read_file(announced.objref));
  }
  FileDesc fd{};
  CKPT_CHECK(take(RecordType::file_desc, fd));
  if (refs_.kind(fd.fd_objref) != ObjKind::file)
    return bad("fd_objref " + std::to_string(fd.fd_objref) + " is no file");
  const std::int32_t above = table.fds.empty() ? -1 : table.fds.back().fd_descriptor.value();
  if (fd.fd_descriptor <= above)
    return bad("fd_descriptor " + std::to_string(fd.fd_descriptor) + " is not above " +
               std::to_string(above));
  if (fd.fd_close_on_exec > 1 || fd.fd_pending > 1)
    return bad("fd_close_on_exec or fd_pending is neither 0 nor 1");
  table.fds.push_back(fd);
  return advance();
}

Status ImageReader::read_file(std::int32_t ref) {
  ImageFile file;
  file.ref = ref;
  CKPT_CHECK(take(RecordType::file, file.file));
  const File& f = file.file;
  if (f.f_type != kFileOpaque && (f.f_type < kFileGeneric || f.f_type > kFileTty))
    return bad("unknown f_type " + std::to_string(f.f_type));
  if (f.f_credref != 0)
    return bad("f_credref " + std::to_string(f.f_credref) + " refers to nothing");
  if (f.deleted > 1) return bad("deleted is neither 0 nor 1");
  // A pipe is known by its objref alone.
  if (f.pipe_objref != 0 && refs_.kind(f.pipe_objref) != ObjKind::pipe)
    CKPT_CHECK(define(f.pipe_objref, ObjKind::pipe));
  CKPT_CHECK(advance());
  CKPT_CHECK(take_text(RecordType::file_name, file.path));
  image_.files.push_back(std::move(file));
  return {};
}

Status ImageReader::read_fs(std::int32_t ref) {
  ImageFs fs;
  fs.ref = ref;
  CKPT_CHECK(take(RecordType::fs, fs.fs));
  if (fs.fs.umask > 0777) return bad("umask is above 0777");
  if (fs.fs.umask_known > 1) return bad("umask_known is neither 0 nor 1");
  CKPT_CHECK(advance());
  CKPT_CHECK(take_text(RecordType::string, fs.root));
  CKPT_CHECK(take_text(RecordType::string, fs.cwd));
  image_.fs.push_back(std::move(fs));
  return {};
}

Status ImageReader::read_task_objs() {
  TaskObjs objs{};
  CKPT_CHECK(take(RecordType::task_objs, objs));
  if (objs.files_objref != 0 && refs_.kind(objs.files_objref) != ObjKind::file_table)
    return bad("files_objref " + std::to_string(objs.files_objref) + " is no file table");
  if (objs.fs_objref != 0 && refs_.kind(objs.fs_objref) != ObjKind::fs)
    return bad("fs_objref " + std::to_string(objs.fs_objref) + " is no FS");
  CKPT_CHECK(check_process_objs(objs));
  image_.objs.push_back(objs);
  return advance();
}

}  // namespace ckpt::format
