// What dump and restore cost for very many tasks, as ratios to zstd -1 over the same record stream
// measured in the same run, and the peak memory of each.
//
//   bench_million [TASKS]     1,000,000 unless told
//
// The machine is made directly; make_forest() says of what shape.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>

#include "core/checkpoint.h"
#include "format/image.h"
#include "format/stream.h"
#include "restart/check_plan.h"
#include "restart/planner.h"
#include "restart/rehearse.h"

namespace {

using namespace ckpt;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Services below init, each a session of up to six generations, as a busy host has them: one
// process in fifty starts a service, a fifth lead a job of their own, one in twenty has a thread
// more, and one in twenty has lost its parent, whose ids are needed all the same (ghosts).
core::Process& make_forest(core::Machine& m, std::size_t tasks) {
  static const char* const kNames[] = {"nginx", "postgres", "python3", "sh",
                                       "make",  "cc1plus",  "sshd",    "bash"};
  std::mt19937 random(1);
  core::Nr next = 1;
  const auto new_pid = [&] {
    const core::Nr nr = next++;
    return m.new_pid(m.root_ns(), {&nr, 1});
  };
  const auto leads = [&](core::Process& p) {
    m.set_session(p, p.tgid);
    m.set_pgrp(p, p.tgid);
  };
  core::Process& root = m.add_process(m.world(), new_pid(), m.world().pgrp, m.world().session);
  m.root_ns().init = &root;
  leads(root);
  root.leader->set_name("init");
  struct Node {
    core::Process* process;
    int depth;
  };
  std::vector<Node> recent{{&root, 0}};
  while (m.tasks() < tasks) {
    Node parent = recent[random() % recent.size()];
    const bool service = parent.depth > 5 || random() % 50 == 0;
    if (service) parent = {&root, 0};
    core::Process& p =
        m.add_process(*parent.process, new_pid(), parent.process->pgrp, parent.process->session);
    p.leader->set_name(kNames[random() % 8]);
    const auto kind = random() % 20;
    if (service) {
      leads(p);
    } else if (kind < 4) {
      m.set_pgrp(p, p.tgid);
    } else if (kind == 4) {
      m.add_thread(p, new_pid()).set_name("worker");
    } else if (kind == 5 && parent.depth > 0 && parent.process->children.size() == 1 &&
               parent.process->single_threaded()) {
      core::Process& dead = *parent.process;
      std::erase_if(recent, [&](const Node& n) { return n.process == &dead; });
      m.set_parent(p, root);
      m.make_zombie(dead, 0);
      m.release(dead);
    }
    recent.push_back({&p, parent.depth + 1});
    if (recent.size() > 64) recent.erase(recent.begin() + static_cast<long>(random() % 32));
  }
  return root;
}

template <class T>
T must(Result<T> result) {
  if (result.has_error()) {
    std::fprintf(stderr, "bench_million: %s\n", result.error().message().c_str());
    std::exit(1);
  }
  if constexpr (!std::is_void_v<T>) return std::move(result).value();
}

void dump(core::Machine& machine, core::Process& root, format::ByteSink& sink) {
  format::StreamWriter writer(sink);
  must(core::checkpoint(machine, root, {}, writer));
  must(writer.close());
}

void rehearse(format::ByteSource& source) {
  format::StreamReader reader(source);
  must(restart::rehearse(must(format::read_image(reader))));
}

// What a process of its own does, so that its peak memory is its own.
int dump_to(const char* path, std::size_t tasks) {
  core::Machine machine;
  core::Process& root = make_forest(machine, tasks);
  format::FdSink sink(::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  dump(machine, root, sink);
  return 0;
}
int rehearse_from(const char* path) {
  format::FdSource source(::open(path, O_RDONLY | O_CLOEXEC));
  rehearse(source);
  return 0;
}

// This program again with these arguments; its peak memory in bytes.
double peak_of(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "bench_million");
  arguments.push_back(nullptr);
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    execv("/proc/self/exe", const_cast<char**>(arguments.data()));
    _exit(127);
  }
  int status = 0;
  rusage usage{};
  if (child < 0 || wait4(child, &status, 0, &usage) != child || status != 0) {
    std::fprintf(stderr, "bench_million: a child failed\n");
    std::exit(1);
  }
  return static_cast<double>(usage.ru_maxrss) * 1024;
}

double best_of(int runs, const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    const auto start = Clock::now();
    work();
    best = std::min(best, seconds_since(start));
  }
  return best;
}

void speed(std::size_t tasks) {
  format::MemorySink image;
  double unit = 0, dumped = 0;
  {
    core::Machine machine;
    core::Process& root = make_forest(machine, tasks);
    format::MemoryRecords stream;
    must(core::checkpoint(machine, root, {}, stream));
    std::vector<std::byte> out(ZSTD_compressBound(stream.bytes.size()));
    unit = best_of(5, [&] {
      if (ZSTD_isError(
              ZSTD_compress(out.data(), out.size(), stream.bytes.data(), stream.bytes.size(), 1)))
        std::exit(1);
    });
    std::printf("%zu tasks, %zu bytes of records each\n", machine.tasks(),
                stream.bytes.size() / machine.tasks());
    dumped = best_of(5, [&] {
      image.bytes.clear();
      dump(machine, root, image);
    });
    std::printf("%-24s %6.2f x zstd -1    aim: at most 4\n", "dump", dumped / unit);
  }
  const double took = best_of(3, [&] {
    format::MemorySource source(image.bytes);
    rehearse(source);
  });
  std::printf("%-24s %6.2f x zstd -1    aim: at most 15\n", "restore with rehearsal", took / unit);
  format::MemorySource source(image.bytes);
  format::StreamReader reader(source);
  const format::Image loaded = must(format::read_image(reader));
  std::size_t ghosts = 0;
  const double planned = best_of(3, [&] {
    const restart::Plan plan = must(restart::make_plan(loaded));
    must(restart::check_plan(loaded, plan));
    ghosts = plan.ghosts.size();
  });
  std::printf("%-24s %6.2f x the dump   aim: at most 10 (%zu ghosts and helpers)\n",
              "plan and check", planned / dumped, ghosts);
}

void memory(std::size_t tasks) {
  char path[] = "/tmp/bench_million.XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) std::exit(1);
  close(fd);
  const std::string number = std::to_string(tasks);
  const double unit = static_cast<double>(tasks);
  std::printf("%-24s %6.0f bytes a task    aim: below 1024\n", "dump, peak memory",
              peak_of({"dump", path, number.c_str()}) / unit);
  std::printf("%-24s %6.0f bytes a task    aim: below 1024\n", "restore, peak memory",
              peak_of({"rehearse", path}) / unit);
  unlink(path);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "dump") == 0)
    return dump_to(argv[2], std::strtoul(argv[3], nullptr, 10));
  if (argc == 3 && std::strcmp(argv[1], "rehearse") == 0) return rehearse_from(argv[2]);
  const std::size_t tasks = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1'000'000;
  if (tasks < 2 || tasks > 3'000'000) {
    std::fprintf(stderr, "usage: bench_million [TASKS]   (2 to 3000000)\n");
    return 2;
  }
  speed(tasks);
  memory(tasks);
  return 0;
}
