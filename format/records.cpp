#include "format/records.h"

#include <utility>

namespace ckpt::format {

const char* record_name(std::uint32_t type) {
  switch (static_cast<RecordType>(type)) {
    case RecordType::header:
      return "HEADER";
    case RecordType::container:
      return "CONTAINER";
    case RecordType::buffer:
      return "BUFFER";
    case RecordType::string:
      return "STRING";
    case RecordType::objref:
      return "OBJREF";
    case RecordType::pids:
      return "PIDS";
    case RecordType::tree:
      return "TREE";
    case RecordType::task:
      return "TASK";
    case RecordType::task_objs:
      return "TASK_OBJS";
    case RecordType::file_table:
      return "FILE_TABLE";
    case RecordType::file_desc:
      return "FILE_DESC";
    case RecordType::file_name:
      return "FILE_NAME";
    case RecordType::file:
      return "FILE";
    case RecordType::pipe_buf:
      return "PIPE_BUF";
    case RecordType::fs:
      return "FS";
    case RecordType::pid_ns:
      return "PID_NS";
    case RecordType::pid_ns_map:
      return "PID_NS_MAP";
    case RecordType::task_kin:
      return "TASK_KIN";
    case RecordType::thread:
      return "THREAD";
    case RecordType::cpu:
      return "CPU";
    case RecordType::cred:
      return "CRED";
    case RecordType::task_creds:
      return "TASK_CREDS";
    case RecordType::mm:
      return "MM";
    case RecordType::vma:
      return "VMA";
    case RecordType::pgarr:
      return "PGARR";
    case RecordType::sighand:
      return "SIGHAND";
    case RecordType::signal:
      return "SIGNAL";
    case RecordType::signal_task:
      return "SIGNAL_TASK";
    case RecordType::sigpending:
      return "SIGPENDING";
    case RecordType::platform:
      return "PLATFORM";
    case RecordType::posix_timer:
      return "POSIX_TIMER";
    case RecordType::file_state:
      return "FILE_STATE";
    case RecordType::pipe_size:
      return "PIPE_SIZE";
    case RecordType::file_lock:
      return "FILE_LOCK";
    case RecordType::socket_pair:
      return "SOCKET_PAIR";
    case RecordType::node:
      return "NODE";
    case RecordType::task_node:
      return "TASK_NODE";
    case RecordType::space:
      return "SPACE";
    case RecordType::task_spaces:
      return "TASK_SPACES";
    case RecordType::inode:
      return "INODE";
    case RecordType::file_owner:
      return "FILE_OWNER";
    case RecordType::placement:
      return "PLACEMENT";
    case RecordType::guards:
      return "GUARDS";
    case RecordType::socket:
      return "SOCKET";
    case RecordType::request:
      return "REQUEST";
    case RecordType::trace:
      return "TRACE";
    case RecordType::tail:
      return "TAIL";
    case RecordType::error:
      return "ERROR";
  }
  return nullptr;
}

std::string feature_names(std::uint64_t features) {
  constexpr std::pair<std::uint64_t, const char*> kNames[] = {
      {kFeatureNestedNs, "nested pid namespaces"},
      {kFeatureFiles, "files"},
      {kFeatureUnknownIds, "unknown ids"},
      {kFeatureLocks, "locks"},
      {kFeaturePipes, "contents of pipes"},
      {kFeatureMemory, "memory and registers"},
      {kFeatureInodes, "files without a name"},
      {kFeatureSpaces, "namespaces of their own"},
      {kFeatureGuards, "guard pages"},
      {kFeaturePlacement, "processors and I/O priorities"},
      {kFeatureSockets, "sockets"},
      {kFeatureRepeats, "repeated pages"},
      {kFeatureRequests, "requests under way"},
      {kFeatureNodes, "nodes of a cluster"},
  };
  std::string names;
  const auto add = [&](const std::string& name) { names += (names.empty() ? "" : ", ") + name; };
  for (const auto& [bit, name] : kNames)
    if (features & bit) add(name);
  if (const std::uint64_t rest = features & ~kKnownFeatures) add("bits " + std::to_string(rest));
  return names.empty() ? "none" : names;
}

}  // namespace ckpt::format
