// What follows from the one description of a record (BOOST_DESCRIBE_STRUCT in records.h): its
// fields by name, as text, as JSON, and equality. A new field needs nothing here; a new fixed
// record needs its line in visit_record_struct().
#pragma once

#include <boost/describe/members.hpp>
#include <boost/json/object.hpp>
#include <boost/mp11/algorithm.hpp>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "format/record_io.h"

namespace ckpt::format {

// Calls f(name, value) for each described field; value is a plain integer of the field's sign.
template <class T, class F>
void for_each_field(const T& record, F&& f) {
  using Members = boost::describe::describe_members<T, boost::describe::mod_public>;
  boost::mp11::mp_for_each<Members>([&](auto member) {
    const auto value = (record.*member.pointer).value();
    if constexpr (std::is_signed_v<decltype(value)>)
      f(std::string_view(member.name), std::int64_t{value});
    else
      f(std::string_view(member.name), std::uint64_t{value});
  });
}

// Equality of all described fields; what stands in padding does not count.
template <class T>
bool described_equal(const T& a, const T& b) {
  using Members = boost::describe::describe_members<T, boost::describe::mod_public>;
  bool equal = true;
  boost::mp11::mp_for_each<Members>([&](auto member) {
    equal = equal && (a.*member.pointer).value() == (b.*member.pointer).value();
  });
  return equal;
}

// Calls f(std::type_identity<Struct>) with the struct of a fixed record; false for other types.
template <class F>
bool visit_record_struct(std::uint32_t type, F&& f) {
  const auto call = [&]<class T>(std::type_identity<T> id) {
    f(id);
    return true;
  };
  using enum RecordType;
  switch (static_cast<RecordType>(type)) {
    case header:
      return call(std::type_identity<Header>{});
    case objref:
      return call(std::type_identity<Objref>{});
    case pids:
      return call(std::type_identity<Pids>{});
    case tree:
      return call(std::type_identity<Tree>{});
    case task:
      return call(std::type_identity<Task>{});
    case task_objs:
      return call(std::type_identity<TaskObjs>{});
    case file_table:
      return call(std::type_identity<FileTable>{});
    case file_desc:
      return call(std::type_identity<FileDesc>{});
    case file:
      return call(std::type_identity<File>{});
    case pipe_buf:
      return call(std::type_identity<PipeBuf>{});
    case fs:
      return call(std::type_identity<Fs>{});
    case pid_ns:
      return call(std::type_identity<PidNs>{});
    case pid_ns_map:
      return call(std::type_identity<PidNsMap>{});
    case task_kin:
      return call(std::type_identity<TaskKin>{});
    case task_node:
      return call(std::type_identity<TaskNode>{});
    case thread:
      return call(std::type_identity<Thread>{});
    case cpu:
      return call(std::type_identity<Cpu>{});
    case cred:
      return call(std::type_identity<Cred>{});
    case task_creds:
      return call(std::type_identity<TaskCreds>{});
    case mm:
      return call(std::type_identity<Mm>{});
    case vma:
      return call(std::type_identity<Vma>{});
    case pgarr:
      return call(std::type_identity<Pgarr>{});
    case sighand:
      return call(std::type_identity<Sighand>{});
    case signal:
      return call(std::type_identity<Signal>{});
    case signal_task:
      return call(std::type_identity<SignalTask>{});
    case sigpending:
      return call(std::type_identity<Sigpending>{});
    case platform:
      return call(std::type_identity<Platform>{});
    case posix_timer:
      return call(std::type_identity<PosixTimer>{});
    case file_state:
      return call(std::type_identity<FileState>{});
    case pipe_size:
      return call(std::type_identity<PipeSize>{});
    case file_lock:
      return call(std::type_identity<FileLock>{});
    case socket_pair:
      return call(std::type_identity<SocketPair>{});
    case space:
      return call(std::type_identity<Space>{});
    case task_spaces:
      return call(std::type_identity<TaskSpaces>{});
    case inode:
      return call(std::type_identity<Inode>{});
    case file_owner:
      return call(std::type_identity<FileOwner>{});
    case placement:
      return call(std::type_identity<Placement>{});
    case guards:
      return call(std::type_identity<Guards>{});
    case socket:
      return call(std::type_identity<Socket>{});
    case request:
      return call(std::type_identity<Request>{});
    case tail:
      return call(std::type_identity<Tail>{});
    case container:
    case buffer:
    case string:
    case file_name:
    case trace:
    case node:
    case error:
      return false;
  }
  return false;
}

// The same for a payload as it was read: false, without a call, if the type is not fixed or the
// payload is shorter than the struct.
template <class F>
bool for_each_field(std::uint32_t type, std::span<const std::byte> payload, F&& f) {
  bool whole = false;
  visit_record_struct(type, [&]<class T>(std::type_identity<T>) {
    if (payload.size() < sizeof(T)) return;
    T record;
    std::memcpy(&record, payload.data(), sizeof record);
    for_each_field(record, f);
    whole = true;
  });
  return whole;
}

// One record as one line of text, without a line feed: number, offset in the stream, name, length
// (with its head), and the fields, the text, or the first bytes.
//   "17  4242  FS  len=16  umask=022 umask_known=1"
std::string print_record(const RecordView& record);

// The same as JSON: {"number", "offset", "type", "name" (null if unknown), "len", and "fields"
// (an object), "text", or "bytes" (how many)}.
boost::json::object record_json(const RecordView& record);

// A lock for a person: "fcntl write 0-99", "ofd read 100-", "flock write".
std::string lock_text(const FileLock& lock);
// "read of fd 3", "wait for any child", "write of 512 bytes at 0 to fd 4, asynchronous"; `target`
// is what the pid that is waited for is called.
std::string request_text(const Request& request, const std::string& target);

// Text from an image for a terminal: control characters, bytes above 0x7e and the backslash as
// \xNN.
std::string printable(std::string_view text);
// Text from an image for JSON: bytes that are not UTF-8 become U+FFFD.
std::string utf8(std::string_view text);

}  // namespace ckpt::format
