#!/bin/bash
# Counts until SIGTERM, in the shell itself, and checks the sum.
trap stop=1 TERM
n=0 sum=0
echo ready.
while [ -z "$stop" ]; do
  n=$((n + 1)) sum=$((sum + n))
done
[ "$sum" -eq $((n * (n + 1) / 2)) ]
