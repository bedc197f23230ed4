// Dump and restore by the command as a user has it, against what must be done in any case, measured
// in the same run. Needs root.
//
//   bench_real CKPT [MOST_PROCESSES [MOST_MEGABYTES [ROUNDS]]]    1000, 1024 and 5 unless told
//
// Idle processes (bench_idle, which is to lie beside this program): a restore against fork + pause
// of as many by a process of the same kind; a dump against finding and reading their pages. One
// process with much memory, half of it random: a dump against zstd -1 -T0 of the same bytes from a
// memory file to the folder of the image, and fsync(2) of what it wrote, as a dump does; a restore
// against zstd -d of the image into a memory file. Frozen: for how long the root was seen in a
// tracing stop while it was dumped to go on.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/host/maps_text.h"
#include "core/host/page_scan.h"
#include "core/host/proc_fs.h"
#include "tests/bench/idle.h"

namespace {

using namespace ckpt;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kMega = 1 << 20, kPage = 4096;

[[noreturn]] void die(const std::string& what) {
  std::perror(("bench_real: " + what).c_str());
  std::exit(1);
}
template <class T>
T must(Result<T> result) {
  if (result.has_error()) die(result.error().message());
  return std::move(result).value();
}

double timed(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}
double median(std::vector<double> all) {
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

[[noreturn]] void exec(std::vector<std::string> command) {
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  _exit(127);
}

// A command with its output thrown away, or in `out`; must succeed.
void run(const std::vector<std::string>& command, int out = -1) {
  const pid_t pid = fork();
  if (pid == 0) {
    const int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 2; ++fd) dup2(null, fd);
    if (out >= 0) dup2(out, 1);
    exec(command);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || status != 0)
    die(command[0] + " " + command[1] + " failed");
}

int g_shared_fd = -1;
IdleShared* g_shared = nullptr;

pid_t start_idle(const std::vector<std::string>& arguments) {
  g_shared->arrived = 0;
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  std::vector<std::string> command{self + "/bench_idle"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  const pid_t pid = fork();
  if (pid == 0) exec(command);
  return pid;
}

// A tree of `processes`; the root has read `contents` bytes from `data`.
pid_t start_tree(unsigned processes, int data, std::size_t contents) {
  const pid_t root = start_idle({"tree", std::to_string(g_shared_fd), std::to_string(processes),
                                 std::to_string(data), std::to_string(contents)});
  while (__atomic_load_n(&g_shared->arrived, __ATOMIC_SEQ_CST) < processes) {
    if (waitpid(root, nullptr, WNOHANG) != 0) die("bench_idle");
    usleep(50);
  }
  return root;
}

std::vector<pid_t> children_of(pid_t pid) {
  const std::string id = std::to_string(pid);
  const auto text = host::ProcFs("/proc").read(id + "/task/" + id + "/children");
  std::vector<pid_t> all;
  if (text.has_error()) return all;
  for (const char* at = text.value().c_str(); *at != 0;) {
    char* end = nullptr;
    all.push_back(static_cast<pid_t>(std::strtol(at, &end, 10)));
    at = *end != 0 ? end + 1 : end;
  }
  return all;
}
std::vector<pid_t> tree_of(pid_t root) {
  std::vector<pid_t> all = children_of(root);
  all.insert(all.begin(), root);
  return all;
}

// Orphans come to this process, too.
void reap() {
  while (waitpid(-1, nullptr, 0) > 0) {
  }
}

void end_tree(pid_t root) {
  for (const pid_t pid : tree_of(root)) kill(pid, SIGKILL);
  reap();
}

double bare_fork(unsigned processes) {
  start_idle({"fork", std::to_string(g_shared_fd), std::to_string(processes)});
  reap();
  if (g_shared->arrived != processes) die("bench_idle");
  return g_shared->seconds;
}

// Finds all pages that are a tree's own, and reads them.
double scan_and_read(pid_t root, std::size_t& pages) {
  std::vector<char> room(256 * kPage);
  pages = 0;
  return timed([&] {
    for (const pid_t pid : tree_of(root)) {
      const std::string dir = "/proc/" + std::to_string(pid);
      const auto scanner = must(host::PageScanner::open(pid));
      const auto maps = must(host::ProcFs("/proc").read(std::to_string(pid) + "/smaps"));
      std::vector<host::PageRange> ranges;
      for (const host::Mapping& m : must(host::parse_smaps(maps))) {
        const host::PageRange range{m.start, m.end};
        if (!m.shared && !m.is_kernels()) (void)scanner.scan({&range, 1}, ranges);
      }
      const int fd = open((dir + "/mem").c_str(), O_RDONLY);
      for (const host::PageRange& r : ranges)
        for (std::uint64_t at = r.begin; at < r.end;) {
          const ssize_t n = pread(fd, room.data(), std::min<std::size_t>(room.size(), r.end - at),
                                  static_cast<off_t>(at));
          if (n <= 0) break;
          at += static_cast<std::uint64_t>(n);
          pages += static_cast<std::size_t>(n) / kPage;
        }
      close(fd);
    }
  });
}

// Runs `work` and tells for how long the process was seen stopped by a tracer meanwhile.
double frozen_during(pid_t pid, const std::function<void()>& work) {
  std::atomic<bool> end{false};
  double stopped = 0;
  std::thread watcher([&] {
    const host::ProcFs proc("/proc");
    std::optional<Clock::time_point> since;
    while (!end) {
      const auto stat = proc.read(std::to_string(pid) + "/stat");
      const auto now = Clock::now();
      const bool traced = stat && stat->find(") t ") != std::string::npos;
      if (traced && !since) since = now;
      if (traced) stopped = std::chrono::duration<double>(now - *since).count();
      usleep(100);
    }
  });
  work();
  end = true;
  watcher.join();
  return stopped;
}

struct Measured {
  std::vector<double> dump, restore, frozen, scan, fork, zstd, unzstd;
  double image = 0;  // bytes
  std::size_t pages = 0;
};

// What zstd takes to write the image's stream to memory.
double decompress(const std::string& image) {
  const int out = memfd_create("decompressed", 0);
  const double took = timed([&] { run({"zstd", "-dc", "-q", image}, out); });
  close(out);
  return took;
}

// The tree is dumped while it goes on, dumped and ended, and restored.
void round(const std::string& ckpt, const std::string& image, pid_t root, Measured& m) {
  const std::string pid = std::to_string(root);
  m.scan.push_back(scan_and_read(root, m.pages));
  m.frozen.push_back(frozen_during(root, [&] {
    run({ckpt, "dump", "-q", "--pid", pid, "--leave-running", "-o", image});
  }));
  m.dump.push_back(timed([&] { run({ckpt, "dump", "-q", "--pid", pid, "-o", image}); }));
  reap();
  struct stat st {};
  if (stat(image.c_str(), &st) != 0) die(image);
  m.image = static_cast<double>(st.st_size);
  m.unzstd.push_back(decompress(image));
  m.restore.push_back(timed([&] { run({ckpt, "restore", "-q", "--here", "--detach", image}); }));
  end_tree(root);
}

void idle(const std::string& ckpt, const std::string& image, unsigned processes, int rounds) {
  Measured m;
  for (int i = 0; i < rounds; ++i) {
    m.fork.push_back(bare_fork(processes));
    round(ckpt, image, start_tree(processes, -1, 0), m);
  }
  std::printf(
      "%5u processes, %6zu pages: dump %8.2f ms, %5.2f x scan + read (%.2f ms); frozen %8.2f ms; "
      "restore %8.2f ms, %5.2f x fork + pause (%.2f ms); image %.0f KB\n",
      processes, m.pages, median(m.dump) * 1e3, median(m.dump) / median(m.scan),
      median(m.scan) * 1e3, median(m.frozen) * 1e3, median(m.restore) * 1e3,
      median(m.restore) / median(m.fork), median(m.fork) * 1e3, m.image / 1024);
  std::fflush(stdout);
}

// A memory file of which every other 512 bytes are random, the rest can be compressed.
int make_data(std::size_t bytes) {
  const int fd = memfd_create("data", 0);
  std::mt19937_64 random(bytes);
  std::vector<std::uint64_t> page(kPage / sizeof(std::uint64_t));
  for (std::size_t at = 0; at < bytes; at += kPage) {
    for (std::size_t i = 0; i < page.size(); ++i)
      page[i] = i % 128 < 64 ? random() : 0x20746e6920746163 + at / kPage + i % 16;
    if (write(fd, page.data(), kPage) != static_cast<ssize_t>(kPage)) die("memfd");
  }
  return fd;
}

void large(const std::string& ckpt, const std::string& image, std::size_t mega, int rounds) {
  Measured m;
  const int data = make_data(mega * kMega);
  const std::string name = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(data);
  for (int i = 0; i < rounds; ++i) {
    m.zstd.push_back(timed([&] {
      run({"zstd", "-1", "-T0", "-q", "-f", "-k", name, "-o", image});
      const int fd = open(image.c_str(), O_RDONLY);
      if (fd < 0 || fsync(fd) != 0) die(image);
      close(fd);
    }));
    round(ckpt, image, start_tree(1, data, mega * kMega), m);
  }
  close(data);
  std::printf(
      "%5zu MB: dump %9.2f ms, %5.2f x zstd -1 -T0 and fsync (%.2f ms), %5.2f x scan + read "
      "(%.2f ms); frozen %9.2f ms; restore %9.2f ms, %5.2f x zstd -d (%.2f ms); image %.2f of the "
      "memory\n",
      mega, median(m.dump) * 1e3, median(m.dump) / median(m.zstd), median(m.zstd) * 1e3,
      median(m.dump) / median(m.scan), median(m.scan) * 1e3, median(m.frozen) * 1e3,
      median(m.restore) * 1e3, median(m.restore) / median(m.unzstd), median(m.unzstd) * 1e3,
      m.image / static_cast<double>(mega * kMega));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const auto option = [&](int i, int otherwise) {
    return argc > i ? std::atoi(argv[i]) : otherwise;
  };
  const int processes = option(2, 1000), mega = option(3, 1024), rounds = option(4, 5);
  if (argc < 2 || geteuid() != 0 || processes < 0 || mega < 0 || rounds < 1) {
    std::fprintf(stderr,
                 "usage, as root: bench_real CKPT [MOST_PROCESSES [MOST_MEGABYTES [ROUNDS]]]\n");
    return 2;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  g_shared_fd = memfd_create("shared", 0);
  if (ftruncate(g_shared_fd, kPage) != 0) die("memfd");
  g_shared = static_cast<IdleShared*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, g_shared_fd, 0));
  char folder[] = "/tmp/ckpt_bench_XXXXXX";
  if (mkdtemp(folder) == nullptr) die("mkdtemp");
  const std::string image = std::string(folder) + "/image";
  std::printf(
      "aims: 1,000 processes: dump 3 x scan + read, restore 3 x fork + pause; "
      "4096 MB: dump 1 x zstd\n");
  for (int n = 1; n <= processes; n *= 10) idle(argv[1], image, static_cast<unsigned>(n), rounds);
  for (int n = 64; n <= mega; n *= 4) large(argv[1], image, static_cast<std::size_t>(n), rounds);
  unlink(image.c_str());
  rmdir(folder);
  return 0;
}
