#!/bin/sh
# Sees to it that the tools of one make target are there: installs what is missing when it may, else says what it is.
# Usage: setup.sh demo|test|bench|vm-test
set -eu

# tool, the Debian and Ubuntu package that has it, and the targets that need it
tools='
fusermount3         fuse3              demo test bench vm-test
mkfs.ext4           e2fsprogs          demo test vm-test
losetup             mount              demo test vm-test
gcc                 gcc                test
python3             python3            test
qemu-img            qemu-utils         test bench
zstd                zstd               test bench
genisoimage         genisoimage        test
tar                 tar                test bench
rsync               rsync              test
mkfs.btrfs          btrfs-progs        test
resize2fs           e2fsprogs          test
qemu-io             qemu-utils         test
taskset             util-linux         bench
qemu-storage-daemon qemu-system-common bench
qemu-system-x86_64  qemu-system-x86    vm-test
mmdebstrap          mmdebstrap         vm-test
extlinux            extlinux           vm-test
sfdisk              fdisk              test vm-test
sgdisk              gdisk              test
mkfs.fat            dosfstools         test
mcopy               mtools             test
mksquashfs          squashfs-tools     test
mkfs.xfs            xfsprogs           test
mkfs.btrfs          btrfs-progs        test
mkfs.exfat          exfatprogs         test
mkfs.ntfs           ntfs-3g            test
lvm                 lvm2               test
'

# A user's PATH may lack where Debian keeps the tools of the administrator.
PATH=$PATH:/usr/sbin:/sbin
missing=
while read -r tool package targets; do
    case " $targets " in *" $1 "*) ;; *) continue ;; esac
    command -v "$tool" >/dev/null || missing="$missing $package"
done <<EOF
$tools
EOF
# The race detector links against the C library.
if [ "$1" = test ] && [ ! -e /usr/include/stdlib.h ]; then missing="$missing libc6-dev"; fi

if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "make $1 needs these packages:$missing" >&2
        echo "    sudo apt-get install$missing" >&2
        exit 1
    fi
    echo "installing$missing"
    log=$(mktemp)
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
fi

if ! command -v go >/dev/null; then
    echo "make $1 needs Go 1.21 or newer (it fetches the version in go.mod by itself): https://go.dev/doc/install" >&2
    exit 1
fi
if [ ! -w /dev/fuse ]; then
    echo "make $1 needs /dev/fuse, and the right to use it" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "make $1 needs root, for loop devices: sudo make $1" >&2
    exit 1
fi
