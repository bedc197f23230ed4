// Advisory locks: of a process by range, of an open file description, of flock; fork and close.
#include <sys/file.h>

#include "tree.h"

static int range(int fd, int command, short type, off_t start, off_t length) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  return fcntl(fd, command, &lock);
}

int main(void) {
  int db = open("/tmp/ckpt-sample.db", O_RDWR | O_CREAT, 0644);
  int pidfile = open("/tmp/ckpt-sample.pid", O_RDWR | O_CREAT, 0644);
  int other = open("/tmp/ckpt-sample.other", O_RDWR | O_CREAT, 0644);
  flock(pidfile, LOCK_EX | LOCK_NB);
  range(db, F_SETLK, F_WRLCK, 0, 100);
  range(db, F_SETLK, F_RDLCK, 40, 10);  // splits it
  range(db, F_OFD_SETLK, F_WRLCK, 1000, 0);
  range(other, F_SETLK, F_WRLCK, 0, 0);
  if (fork() == 0) {  // has flock's and the OFD lock with its parent, and none of the parent's others
    range(db, F_SETLK, F_RDLCK, 45, 1);
    hold();
  }
  usleep(500000);
  close(dup(other));  // any close of the file ends a process's locks on it
  hold();
}
