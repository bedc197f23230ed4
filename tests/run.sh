#!/usr/bin/env bash
# Installs what is needed, builds, and runs every test: formatting, the release build, clang-tidy,
# the tests under ASan and UBSan, those of threads under TSan, and at last the tests of the release
# build. Can be run again.
#
#   tests/run.sh
#   CKPT_SKIP_TIDY=1 tests/run.sh    without clang-tidy, which takes longest; for work at home
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }

step "packages"
tests/install-packages.sh build test

step "formatting"
find . -path './build*' -prune -o \( -name '*.h' -o -name '*.cpp' \) -print0 |
  xargs -0 clang-format --dry-run -Werror

step "release build"
cmake --preset release
cmake --build --preset release -j "$jobs"

step "clang-tidy"
if [[ -n ${CKPT_SKIP_TIDY:-} ]]; then
  echo "skipped (CKPT_SKIP_TIDY)"
else
  tidy_log=build/clang-tidy.log
  cmake --preset tidy >"$tidy_log"
  run-clang-tidy -p build/tidy -j "$jobs" -quiet -extra-arg=-Wno-unknown-warning-option \
    >"$tidy_log" 2>&1 || { cat "$tidy_log"; exit 1; }
  echo "nothing found"
fi

step "ASan and UBSan build"
cmake --preset asan
cmake --build --preset asan -j "$jobs"

step "tests under ASan and UBSan"
# Some kernels place mappings where this compiler's sanitizers do not expect them.
norandom=()
if setarch "$(uname -m)" -R true 2>/dev/null; then norandom=(setarch "$(uname -m)" -R); fi
UBSAN_OPTIONS=print_stacktrace=1 "${norandom[@]}" ctest --preset asan -j "$jobs"

step "what runs in several threads, under ThreadSanitizer"
cmake --preset tsan
cmake --build --preset tsan -j "$jobs"
"${norandom[@]}" ctest --preset tsan

step "tests of the release build"
exec ctest --preset release -j "$jobs"
