#!/usr/bin/env bash
# Runs tests of the release build under another kernel: in an emulated machine (QEMU, no KVM needed,
# ten to twenty times slower), on a fresh Debian.
#
#   tests/other-kernel.sh [PACKAGE [COMMAND]]
#
# PACKAGE: a kernel of Debian's, by default that of Debian 12 (linux-image-amd64). COMMAND: what is
# run there by bash, in build/release; by default all that is to be true of real processes, but for
# two tests that take too long there. Needs root, 6 GB below build/, and the release build. The exit
# status is the command's.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
package=${1:-linux-image-amd64}
command=${2:-ctest --output-on-failure --timeout 1500 -R '^(host|cli)\.' -E '^(cli\.restore|host\.kill)$'}
work=$top/build/other-kernel
(( EUID == 0 )) || { echo "other-kernel: needs root, to make a root file system" >&2; exit 1; }
[[ -x build/release/ckpt ]] || { echo "other-kernel: build first: cmake --build --preset release" >&2; exit 1; }

say() { printf '== %s\n' "$*"; }
mkdir -p "$work"
say "packages"
tests/install-packages.sh kernel

if [[ ! -e $work/root/etc/debian_version ]]; then
  say "a fresh Debian"
  debootstrap --variant=minbase --include=kmod,python3,procps,strace,sqlite3,make,gcc,libc6-dev,cmake,zstd,libboost-program-options1.81.0,libboost-json1.81.0,iproute2 \
    bookworm "$work/root" >"$work/debootstrap.log"
fi

say "kernel"
real=$(apt-cache depends "$package" | sed -n 's/ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
real=${real:-$package}
rm -rf "$work/kernel" && mkdir "$work/kernel"
(cd "$work/kernel" && apt-get -qq -o APT::Sandbox::User=root download "$real" && dpkg-deb -x ./*.deb .)
version=$(basename "$work"/kernel/boot/vmlinuz-*)
version=${version#vmlinuz-}
rm -rf "$work/root/lib/modules" && cp -r "$work/kernel/lib/modules" "$work/root/lib/modules"
depmod -b "$work/root" "$version"

say "the tree"
rm -rf "${work:?}/root$top" && mkdir -p "$work/root$top/build/release"
git ls-files | tar cf - -T - | tar xf - -C "$work/root$top"
(cd build/release && find . \( -name CTestTestfile.cmake -o -type f -perm -u+x \) | tar cf - -T -) |
  tar xf - -C "$work/root$top/build/release"
python=$(sed -n 's/^_Python3_EXECUTABLE:INTERNAL=//p' build/release/CMakeCache.txt)
[[ -e $work/root$python ]] || { mkdir -p "$work/root$(dirname "$python")"; ln -s /usr/bin/python3 "$work/root$python"; }

cat >"$work/root/sbin/run-tests" <<END
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
for at in /dev/shm /tmp /run; do mount -t tmpfs tmpfs \$at; done
ln -s /proc/self/fd /dev/fd; for i in 0:stdin 1:stdout 2:stderr; do ln -s fd/\${i%:*} /dev/\${i#*:}; done
ip link set lo up
echo 4194304 >/proc/sys/kernel/pid_max  # as systemd(1) has it
uname -r
cd "$top/build/release" && bash /command
echo "other-kernel: exit status \$?"
echo o >/proc/sysrq-trigger; sleep 60
END
chmod +x "$work/root/sbin/run-tests"
printf '%s\n' "$command" >"$work/root/command"
rm -f "$work/disk" && mke2fs -q -t ext4 -d "$work/root" "$work/disk" 4G

# What mounts the disk.
rm -rf "$work/initrd" && mkdir -p "$work"/initrd/{bin,disk,dev,modules}
cp /bin/busybox "$work/initrd/bin/"
n=100
for module in virtio_pci virtio_blk ext4; do
  modprobe -d "$work/root" -S "$version" --show-depends "$module"
done | awk '$1 == "insmod" && !seen[$2]++ {print $2}' | while read -r file; do
  to=$work/initrd/modules/$((n++))-$(basename "$file" .xz)
  if [[ $file == *.xz ]]; then xz -dc "$file" >"$to"; else cp "$file" "$to"; fi
done
cat >"$work/initrd/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do /bin/busybox insmod $module; done
until [ -e /dev/vda ]; do /bin/busybox sleep 1; done
/bin/busybox mount -t ext4 /dev/vda /disk
/bin/busybox mount -t devtmpfs dev /disk/dev
exec /bin/busybox switch_root /disk /sbin/run-tests
END
chmod +x "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc 2>/dev/null) >"$work/initrd.cpio"

say "Linux $version"
qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 4096 -smp 2 -display none -no-reboot \
  -serial stdio -kernel "$work/kernel/boot/vmlinuz-$version" -initrd "$work/initrd.cpio" \
  -append "console=ttyS0 quiet panic=-1" -drive "file=$work/disk,format=raw,if=virtio" \
  </dev/null | tee "$work/log"
status=$(sed -n 's/^other-kernel: exit status \([0-9]*\).*/\1/p' "$work/log" | tail -1)
exit "${status:-1}"
