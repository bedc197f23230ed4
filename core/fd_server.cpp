#include "core/fd_server.h"

#include <algorithm>
#include <cerrno>

namespace ckpt::core {

std::uint64_t FdServer::announce(std::int32_t pid) {
  retire(pid);
  const std::lock_guard guard(lock_);
  return entries_[pid].life = ++lives_;
}

Ref<ProcessClient> FdServer::enroll(std::int32_t pid, Creds creds) {
  const std::lock_guard guard(lock_);
  const auto it = entries_.find(pid);
  CKPT_ASSERT(it != entries_.end() && !it->second.client);
  return it->second.client = new ProcessClient(it->second.life, creds);
}

void FdServer::retire(std::int32_t pid) {
  Ref<ProcessClient> ended;
  {
    const std::lock_guard guard(lock_);
    const auto it = entries_.find(pid);
    if (it != entries_.end()) ended.swap(it->second.client);
  }
  if (ended) ended->end();
}

void FdServer::forget(std::int32_t pid) {
  retire(pid);
  const std::lock_guard guard(lock_);
  entries_.erase(pid);
}

AskerHandle FdServer::handle_of(std::int32_t pid) const {
  const std::lock_guard guard(lock_);
  const auto it = entries_.find(pid);
  return {pid, it != entries_.end() ? it->second.life : 0};
}

Ref<ProcessClient> FdServer::enrolled(AskerHandle asker, About about) const {
  if (about.pid == 0) {
    if (asker.life == 0) return nullptr;
    about = {asker.pid, asker.life};
  }
  const std::lock_guard guard(lock_);
  const auto it = entries_.find(about.pid);
  if (it == entries_.end() || !it->second.client) return nullptr;
  return about.life == 0 || about.life == it->second.life ? it->second.client : nullptr;
}

// `how` asks the client, and writes what it answers to its second argument.
template <class Answer, class Ask>
int FdServer::ask(AskerHandle asker, About about, Answer* answer, Ask how) {
  assert_no_lock_held();
  const Ref<ProcessClient> client = enrolled(asker, about);
  if (!client) return -ESRCH;
  Answer told{};
  const int result = how(*client, &told);
  if (enrolled(asker, {about.pid, client->life()}) != client) return -ESRCH;
  if (result == 0) *answer = std::move(told);
  return result;
}

// `how` writes into a buffer that is thrown away if the process has ended meanwhile.
template <class Ask>
int FdServer::ask_text(AskerHandle asker, About about, std::span<char> out, std::size_t* size,
                       Ask how) {
  std::string text(out.size(), '\0');
  std::size_t length = 0;
  const int result = ask(asker, about, &length, [&](ProcessClient& client, std::size_t* told) {
    const int error = how(client, std::span<char>(text), told);
    length = *told;
    return error;
  });
  if (result == 0) std::copy_n(text.begin(), length, out.begin());
  if (result == 0 || result == -ERANGE) *size = length;
  return result;
}

int FdServer::find(AskerHandle asker, std::int32_t pid, About* about) {
  const Ref<ProcessClient> client = enrolled(asker, {pid, 0});
  if (!client) return -ESRCH;
  *about = {pid != 0 ? pid : asker.pid, client->life()};
  return 0;
}

int FdServer::next_fd(AskerHandle asker, About about, int from, int* fd) {
  return ask(asker, about, fd, [&](ProcessClient& client, int* told) {
    return client.next_fd(*this, asker, from, told);
  });
}

int FdServer::fd_identity(AskerHandle asker, About about, int fd, FdIdentity* identity) {
  return ask(asker, about, identity, [&](ProcessClient& client, FdIdentity* told) {
    return client.fd_identity(*this, asker, fd, told);
  });
}

int FdServer::fd_status(AskerHandle asker, About about, int fd, FdStatus* status) {
  return ask(asker, about, status, [&](ProcessClient& client, FdStatus* told) {
    return client.fd_status(*this, asker, fd, told);
  });
}

int FdServer::fd_path(AskerHandle asker, About about, int fd, std::span<char> out,
                      std::size_t* size) {
  return ask_text(asker, about, out, size,
                  [&](ProcessClient& client, std::span<char> to, std::size_t* told) {
                    return client.fd_path(*this, asker, fd, to, told);
                  });
}

int FdServer::name(AskerHandle asker, About about, std::span<char> out, std::size_t* size) {
  return ask_text(asker, about, out, size,
                  [&](ProcessClient& client, std::span<char> to, std::size_t* told) {
                    return client.name(*this, asker, to, told);
                  });
}

int FdServer::environment(AskerHandle asker, About about, std::span<char> out, std::size_t* size) {
  return ask_text(asker, about, out, size,
                  [&](ProcessClient& client, std::span<char> to, std::size_t* told) {
                    return client.environment(*this, asker, to, told);
                  });
}

int FdServer::credentials(AskerHandle asker, Creds* creds) const {
  const Ref<ProcessClient> client = enrolled(asker, {});
  if (!client) return -ESRCH;
  *creds = client->creds();
  return 0;
}

}  // namespace ckpt::core
