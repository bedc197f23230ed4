#!/bin/bash
# A shell with a pipeline in the middle of its work: no number is lost or comes twice.
dir=$(mktemp -d)
trap 'touch "$dir/stop"' TERM
{
  i=0
  while [ ! -e "$dir/stop" ]; do
    i=$((i + 1))
    echo $i
    sleep 0.01
  done
} | sed -u 's/$/ x/' | while read -r n x; do [ "$x" = x ] && echo "$n"; done >"$dir/out" &
job=$! self=$$
while [ "$(wc -l <"$dir/out" 2>/dev/null || echo 0)" -lt 5 ]; do sleep 0.01; done
echo ready
while kill -0 $job 2>/dev/null; do wait $job; done
lines=$(wc -l <"$dir/out")
seq "$lines" | cmp - "$dir/out" && [ "$lines" -ge 5 ] && [ $self -eq "$(sh -c 'echo $PPID')" ]
status=$?
rm -r "$dir"
exit $status
