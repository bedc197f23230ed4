#!/usr/bin/env bash
# Records the samples anew: runs each program under strace until its tree stands, and takes the log
# as it is at that moment, with all of the tree alive. As root; needs gcc, strace and util-linux.
#
#   samples/programs/record.sh            all
#   samples/programs/record.sh NAME...    some
#
# Each runs in a pid namespace of its own, so that numbers come out alike each time and nothing is
# left behind. What a log leaves out, it leaves out by strace's own filter (-e trace=...).
set -euo pipefail
programs=$(cd "$(dirname "$0")" && pwd)

tree=clone,clone3,fork,vfork,execve,exit,exit_group,wait4,waitid,setsid,setpgid,kill,tgkill
tree+=,prctl,unshare,setns
files=open,openat,creat,close,close_range,dup,dup2,dup3,fcntl,pipe,pipe2,lseek,read,write,chdir
names=link,linkat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,mknod,mknodat
names+=,truncate,ftruncate

# Runs as the init of a pid namespace: LOG, seconds until the tree stands, then strace and its
# arguments. The log is cut after its last whole line.
inside() {
  local log=$1 seconds=$2
  shift 2
  echo 4100 >/proc/sys/kernel/ns_last_pid
  local run=(setsid env -i PATH=/usr/bin:/bin HOME=/ SHELL=/bin/sh setarch -R "$@")
  if [[ -n ${TYPED:-} ]]; then
    # On a terminal, where somebody types a line every half second.
    while read -r line; do sleep 0.5; printf "%b" "$line"; done <<<"$TYPED" | cat - <(sleep 1000) |
      script -qec "${run[*]@Q}" /dev/null >/dev/null 2>&1 &
  else
    "${run[@]}" </dev/null >/dev/null 2>&1 &
  fi
  sleep "$seconds"
  cp "$log.raw" "$log"
  [[ -z $(tail -c 1 "$log") ]] || sed -i '$d' "$log"
}
if [[ ${1:-} == --inside ]]; then
  shift
  inside "$@"
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work" /tmp/ckpt-sample.* /tmp/ckpt-names' EXIT
cd "$work"
wanted=("$@")

# record NAME SHOWS STRACE_ARGUMENTS...
record() {
  local name=$1 shows=$2
  shift 2
  if (( ${#wanted[@]} )) && [[ " ${wanted[*]} " != *" $name "* ]]; then return; fi
  unshare -pf --mount-proc --kill-child bash "$programs/record.sh" --inside "$work/$name.log" "${seconds:-2}" \
    strace -f -o "$work/$name.log.raw" "$@"
  {
    echo "# shows: $shows"
    echo "# recorded: strace -f ${*//$'\n'/ }"
    cat "$work/$name.log"
  } >"$programs/../$name.strace"
  echo "$name: $(wc -l <"$work/$name.log") lines"
}

# program NAME STRACE_OPTIONS...: the program of that name, which says at its head what it shows.
program() {
  local name=$1
  shift
  gcc -D_GNU_SOURCE -static -O1 -pthread -o "$name" "$programs/$name.c"
  record "$name" "$(sed -n '/^\/\/ /!q; s/^\/\/ //p' "$programs/$name.c" | tr '\n' ' ' |
    sed 's/ $//')" "$@" "./$name"
}

for name in dead-session-leader forked-before-setsid clone-parent-sibling \
  clone-parent-leader-gone dead-leader zombie group-leader-dead group-founder-moved subreaper \
  subreaper-dropped exec-by-thread; do
  program "$name" -e "trace=$tree"
done
program orphaned-group -e "trace=$tree,rt_sigaction"
program sigchld-ignored -e "trace=$tree,rt_sigaction"
program files -e "trace=$tree,$files"
program names -e "trace=$tree,$files,$names"
program locks -e "trace=$tree,$files,$names,flock"
program in-flight -e "trace=$tree,$files,$names,socketpair,sendto,recvfrom"
program requests -e "trace=$tree,$files,io_setup,io_submit,io_getevents,io_destroy"
program unshare-no-init-yet -e "trace=$tree"
program sibling-namespaces-equal-numbers --pidns-translation -e "trace=$tree"
program namespace-joined --pidns-translation -e "trace=$tree,pidfd_open"

gcc -D_GNU_SOURCE -static -O1 -pthread -o threads "$programs/threads.c"
record nested-two-levels \
  "Two pid namespaces one within the other, by unshare(1); at the bottom a process with a thread, so that pid and tgid are distinct, of depth 2 each." \
  --pidns-translation -e "trace=$tree" unshare -pf unshare -pf ./threads
record nested-untranslated \
  "The same without --pidns-translation: clone returns numbers of the inner namespaces, the prefixes show the outer ones." \
  -e "trace=$tree" unshare -pf unshare -pf ./threads

# shellcheck disable=SC2016
record stopped-job \
  "A shell with job control; one job stopped by SIGSTOP, one that was stopped and continued, one running." \
  -e "trace=$tree" bash -c 'set -m; sleep 1001 & sleep 1002 & sleep 1003 & kill -STOP %1 %2; sleep 0.5; kill -CONT %2; wait'
seconds=4 TYPED='sleep 1001 | cat\n
\0032
sleep 1002 | sleep 1003 &\n
(cd /usr; sleep 1004)\n' record interactive-shell \
  "An interactive shell on a terminal: a pipeline that was stopped by Ctrl-Z (SIGTSTP), one in the background, and a command in the foreground." \
  -e "trace=$tree" bash --norc --noprofile -i
record shell-pipeline \
  "A shell with job control: a pipeline in a group of its own, the pipes between its processes, and a job in the background." \
  -e "trace=$tree,$files" bash -c 'set -m; (cd /usr && sleep 1001) & sleep 1002 | cat | wc -l'
record python-subprocess \
  "Python with subprocess: vfork and exec, a pipe to the child, a session of its own for one." \
  -e "trace=$tree,openat,close,chdir,pipe2,dup2,close_range" python3 -I -S -c '
import subprocess, time
a = subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd="/")
b = subprocess.Popen(["sleep", "1001"], start_new_session=True)
c = subprocess.Popen(["true"])
time.sleep(1000)'
printf 'all: a b c\na b c:\n\tsleep 1001; true\n' >jobs.mk
record make-jobs \
  "make -j2: two of three recipes run, each in a shell; the jobserver's pipe is known to all." \
  -e "trace=$tree,openat,close,pipe,pipe2,dup,dup2,fcntl" make -j2 -f jobs.mk
cd /
record real-pipeline \
  "A real log, nothing left out: a shell runs a pipeline to its end. All have exited at the last line; --at shows earlier instants." \
  bash -c 'seq 3 | sort -r | head -2'
