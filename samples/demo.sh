#!/usr/bin/env bash
# Installs what is needed, builds ckpt, and shows its main job on live processes: a shell with a
# pipeline and a background job below it is dumped, looked at, and restored in rehearsal, with what
# ps says about the same processes beside it; they go on undisturbed meanwhile. Then a pipeline that
# counts is dumped with its memory, which ends it, and restored for real. At last the strace log of
# a real pipeline. Can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }
show() { printf '$ %s\n' "$*"; "$@"; }

tests/install-packages.sh build
step "build"
cmake --preset release
cmake --build --preset release -j "$(nproc)" --target ckpt
ckpt=build/release/ckpt

work=$(mktemp -d)
shell=
counter=
finish() {
  # The whole sessions of the demonstration's shells, and nothing else.
  [[ -z $shell ]] || pkill -KILL -s "$shell" || true
  [[ -z $counter ]] || pkill -KILL -s "$counter" || true
  rm -rf "$work"
}
trap finish EXIT

step "a shell, a background job and a pipeline"
mkfifo "$work/ready"
# shellcheck disable=SC2016
setsid bash -c '
  set -m
  (cd /usr; sleep 1001; sleep 1002) &
  sleep 1003 | sleep 1004 | cat > "$1/out" &
  echo $$ > "$1/ready"
  wait' demo "$work" </dev/null &
disown
read -r shell <"$work/ready"
# Until every process has become what it is going to be.
for _ in $(seq 100); do
  [[ $(pgrep -c -s "$shell" -x 'sleep|cat') -eq 4 ]] && break
  sleep 0.05
done
show ps -s "$shell" -o pid,ppid,pgid,sid,comm

step "dump it into an image; it goes on running"
show "$ckpt" dump --pid "$shell" --no-memory --leave-running -o "$work/live.ckpt"
show "$ckpt" inspect "$work/live.ckpt"
show "$ckpt" inspect --fds "$work/live.ckpt"

step "the plan that would bring it back, and its rehearsal"
show "$ckpt" restore --plan "$work/live.ckpt"
show "$ckpt" restore --rehearse "$work/live.ckpt"
show "$ckpt" verify "$work/live.ckpt"
show ps -s "$shell" -o pid,ppid,pgid,sid,comm

step "for real: a pipeline is dumped in the middle of its work, which ends it"
counted=$work/counted
setsid samples/count.sh "$counted" &
counter=$!
disown
until [[ -s $counted ]]; do sleep 0.05; done
show "$ckpt" dump --pid "$counter" -o "$work/count.ckpt"
counter=
show tail -n 1 "$counted"

step "restored, it goes on"
show "$ckpt" restore "$work/count.ckpt"
show tail -n 1 "$counted"
[[ $(seq 50) == "$(cat "$counted")" ]] && echo "1 to 50, each once"

step "the same from the strace log of a real program"
log=samples/real-pipeline.strace
before_first_exit=$(($(grep -n -m 1 exit_group "$log" | cut -d: -f 1) - 1))
show "$ckpt" dump --history "$log" --at "$before_first_exit" -o "$work/log.ckpt"
show "$ckpt" inspect "$work/log.ckpt"
show "$ckpt" restore --rehearse "$work/log.ckpt"
