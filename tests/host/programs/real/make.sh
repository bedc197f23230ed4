#!/bin/bash
# make -j of a small C project, which it generates; what was built must run and give the right sum.
dir=$(mktemp -d)
cd "$dir" || exit 1
trap ended=1 TERM
files=80
for i in $(seq $files); do
  {
    echo "#include <stdio.h>"
    echo "#include <stdlib.h>"
    for j in $(seq 20); do
      echo "static int f$j(int n) { return n < 2 ? $j : f$j(n - 1) + (int)labs(n - $j) - n % 7; }"
    done
    echo "int part$i(void) { int sum = 0;"
    for j in $(seq 20); do echo "  sum += f$j(1);"; done
    echo "  return sum; }"
  } >"part$i.c"
done
{
  for i in $(seq $files); do echo "int part$i(void);"; done
  echo '#include <stdio.h>'
  echo 'int main(void) { int sum = 0;'
  for i in $(seq $files); do echo "  sum += part$i();"; done
  echo '  printf("%d\n", sum); return 0; }'
} >main.c
printf 'objects = $(patsubst %%.c,%%.o,$(wildcard *.c))\nprogram: $(objects)\n\tgcc -o $@ $^\n%%.o: %%.c\n\tgcc -pipe -O2 -c $<\n' >Makefile
make -j 3 >log 2>&1 &
job=$!
while [ "$(ls ./*.o 2>/dev/null | wc -l)" -lt 5 ]; do sleep 0.01; done
echo ready
while kill -0 $job 2>/dev/null; do wait $job; done
status=$?
while [ -z "$ended" ]; do sleep 0.05; done
[ "$(./program)" = $((files * 210)) ] || { cat log; status=1; }
rm -r "$dir"
exit $status
