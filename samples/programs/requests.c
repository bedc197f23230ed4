// Requests under way: one thread reads from an empty pipe, one waits for a child that it made
// itself, and one has asked for asynchronous I/O and ended.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tree.h"

static int ends[2];

static void* read_pipe(void* argument) {
  char byte;
  read(ends[0], &byte, 1);
  return argument;
}

static void* wait_for_child(void* argument) {
  if (fork() == 0) hold();
  waitpid(-1, NULL, 0);
  return argument;
}

static void* ask_and_end(void* argument) {
  static char bytes[512];
  aio_context_t context = 0;
  struct iocb request = {0}, *list[] = {&request};
  request.aio_data = 7;
  request.aio_lio_opcode = IOCB_CMD_PREAD;
  request.aio_fildes = open("/etc/passwd", O_RDONLY);
  request.aio_buf = (unsigned long)bytes;
  request.aio_nbytes = sizeof bytes;
  syscall(SYS_io_setup, 4, &context);
  syscall(SYS_io_submit, context, 1, list);
  return argument;
}

int main(void) {
  pthread_t thread;
  pipe2(ends, 0);
  pthread_create(&thread, NULL, ask_and_end, NULL);
  pthread_join(thread, NULL);
  pthread_create(&thread, NULL, read_pipe, NULL);
  pthread_create(&thread, NULL, wait_for_child, NULL);
  settle();
  chdir("/");  // the log shows what is under way only when something else happens
  hold();
}
