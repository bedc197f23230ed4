// What is in flight: bytes in a pipe, in a fifo and in both directions of a socket pair.
#include <sys/socket.h>
#include <sys/stat.h>

#include "tree.h"

int main(void) {
  char page[4096] = {0}, some[6];
  int jobs[2], log[2], ends[2];
  pipe2(jobs, O_CLOEXEC);
  pipe2(log, O_NONBLOCK);
  socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  mkfifo("/tmp/ckpt-sample.fifo", 0600);
  int fifo = open("/tmp/ckpt-sample.fifo", O_RDWR);
  write(jobs[1], "+++++", 5);  // as make's jobserver does
  write(fifo, "go\n", 3);
  if (fork() == 0) {
    read(jobs[0], some, 2);
    write(log[1], "started\n", 8);
    write(log[1], page, sizeof page);  // longer than strace shows
    close(ends[0]);
    send(ends[1], "ready", 5, 0);
    hold();
  }
  close(log[1]);
  close(ends[1]);
  send(ends[0], "quit", 4, 0);
  usleep(500000);
  read(log[0], some, 4);
  recv(ends[0], some, 1, 0);
  hold();
}
