#!/usr/bin/env bash
# Counts to 50 in a pipeline, ten numbers a second, into the file $1: what demo.sh dumps and restores.
# A terminal, or a pipe of whoever started it, would have its other end outside of the tree.
for fd in /proc/$$/fd/*; do
  fd=${fd##*/}
  ((fd <= 2 || fd == 255)) || eval "exec $fd>&-"
done
exec </dev/null >/dev/null 2>&1
for ((i = 1; i <= 50; i++)); do
  echo "$i"
  sleep 0.1
done | while read -r n; do echo "$n" >>"$1"; done
