// Names: two hard links opened by either, a directory renamed above, a link removed, a file replaced.
#include <sys/stat.h>

#include "tree.h"

int main(void) {
  mkdir("/tmp/ckpt-names", 0755);
  chdir("/tmp/ckpt-names");
  mkdir("spool", 0755);
  int job = open("spool/job", O_RDWR | O_CREAT | O_EXCL, 0644);
  write(job, "0123456789", 10);
  link("spool/job", "job.bak");
  int backup = open("job.bak", O_RDONLY);
  int gone = open("spool/lock", O_RDWR | O_CREAT, 0644);
  open("config", O_RDONLY | O_CREAT, 0644);
  int next = open("config.new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  write(next, "x=1\n", 4);
  if (fork() == 0) {
    rename("spool", "done");  // shows in the parent's files, too
    chdir("done");
    unlink("lock");
    rename("../config.new", "../config");
    lseek(job, 4, SEEK_SET);
    hold();
  }
  usleep(500000);
  unlink("job.bak");
  dup2(backup, 10);
  ftruncate(gone, 100);
  hold();
}
