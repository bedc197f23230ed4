#!/usr/bin/env bash
# Installs the Debian packages that are missing. Does nothing, and needs no rights, when all are
# there; otherwise it must run as root or find sudo.
#
#   tests/install-packages.sh build         what building and running ckpt takes
#   tests/install-packages.sh build test    and what its tests take
#   tests/install-packages.sh kernel        what tests/other-kernel.sh takes
set -euo pipefail

build=(g++ cmake ninja-build pkg-config libboost1.81-dev libboost-json1.81-dev
       libboost-program-options1.81-dev libzstd-dev zstd libxxhash-dev catch2 procps python3)
test=(clang-format clang-tidy jq make strace util-linux)
kernel=(qemu-system-x86 debootstrap busybox-static kmod cpio e2fsprogs)

die() { echo "install-packages: $*" >&2; exit 1; }

wanted=()
for group in "$@"; do
  case $group in
    build) wanted+=("${build[@]}") ;;
    test) wanted+=("${test[@]}") ;;
    kernel) wanted+=("${kernel[@]}") ;;
    *) die "unknown group '$group' (build, test, kernel)" ;;
  esac
done

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "install-packages: not a Debian system; these (or their like) must be there: ${wanted[*]}" >&2
  exit 0
fi

missing=()
for package in "${wanted[@]}"; do
  state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [[ $state == installed ]] || missing+=("$package")
done
if (( ${#missing[@]} == 0 )); then
  echo "install-packages: everything is there"
  exit 0
fi

if (( EUID == 0 )); then
  root=(env)
elif command -v sudo >/dev/null; then
  root=(sudo env)
else
  die "missing: ${missing[*]} (run as root, or install sudo)"
fi

apt() { "${root[@]}" DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@"; }
attempt() { apt update && apt install -y --no-install-recommends "${missing[@]}" >/dev/null; }

echo "install-packages: installing ${missing[*]}"
attempt || { echo "install-packages: once more" >&2; sleep 5; attempt; }
