// Descriptors: an offset shared by dup and fork, two opens of one file, a pipe, close-on-exec.
#include "tree.h"

int main(void) {
  chdir("/tmp");
  int log = open("ckpt-sample.log", O_RDWR | O_CREAT | O_APPEND, 0644);
  write(log, "0123456789", 10);
  int again = open("ckpt-sample.log", O_RDONLY | O_CLOEXEC);
  lseek(again, 4, SEEK_SET);
  int shared = dup(again);
  dup3(log, 17, O_CLOEXEC);
  int pipe_ends[2];
  pipe2(pipe_ends, O_NONBLOCK);
  if (fork() == 0) {  // the reader: moves the shared offset, then close-on-exec takes effect
    char c;
    read(shared, &c, 1);
    close(pipe_ends[1]);
    dup2(pipe_ends[0], 0);
    close(pipe_ends[0]);
    chdir("/");
    execl("/bin/sleep", "sleep", "1000", NULL);
    _exit(127);
  }
  close(pipe_ends[0]);
  fcntl(shared, F_DUPFD_CLOEXEC, 30);
  fcntl(pipe_ends[1], F_SETFD, FD_CLOEXEC);
  close(log);
  hold();
}
