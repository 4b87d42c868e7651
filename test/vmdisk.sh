#!/usr/bin/env bash
# Builds a raw disk with a Debian that boots by BIOS: a partition table, ext4, kernel, initramfs, systemd, and a unit that talks to
# the serial console. At each boot it says that it is up and what word it remembers; told to remember one, by the serial number of
# the machine ("remember:WORD"), it writes it down; then it shuts down.
# Usage: vmdisk.sh DISK. Needs root; leaves nothing behind but DISK.
set -euo pipefail

disk=$1
size=1024 # MiB
begin=1   # of the partition, MiB
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d "$(dirname "$disk")/vmdisk.XXXXXX")
loop=

cleanup() {
    status=$?
    trap - EXIT INT TERM
    mountpoint -q "$work/mnt" && umount "$work/mnt"
    [ -z "$loop" ] || losetup --detach "$loop"
    rm -rf --one-file-system "$work"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM
root=$work/root raw=$work/raw

# python3 and git are what people have on a disk, and no boot needs. Syncing each package would take longer than unpacking it.
mmdebstrap --quiet --dpkgopt=force-unsafe-io --variant=minbase --include=linux-image-cloud-amd64,systemd-sysv,python3,git --architectures=amd64 bookworm "$root"

cat >"$root/usr/local/sbin/remember" <<'END'
#!/bin/sh
asked=$(cat /sys/class/dmi/id/product_serial)
echo "guest: up"
if [ -e /root/word ]; then echo "guest: remembers $(cat /root/word)"; fi
case $asked in
remember:*)
    echo "${asked#remember:}" >/root/word
    sync
    echo "guest: wrote $(cat /root/word)"
    ;;
esac
exec systemctl poweroff
END
chmod 755 "$root/usr/local/sbin/remember"
cat >"$root/etc/systemd/system/remember.service" <<'END'
[Unit]
After=getty.target
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/remember
StandardOutput=tty
TTYPath=/dev/ttyS0
END
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../remember.service "$root/etc/systemd/system/multi-user.target.wants/"
echo 'LABEL=root / ext4 rw 0 1' >"$root/etc/fstab"
cat >"$root/extlinux.conf" <<'END'
SERIAL 0 115200
DEFAULT debian
LABEL debian
    LINUX /vmlinuz
    INITRD /initrd.img
    APPEND root=LABEL=root ro console=ttyS0
END

truncate --size ${size}M "$raw"
echo "start=${begin}MiB, type=83, bootable" | sfdisk --quiet "$raw"
# extlinux reads no ext4 of 64 bits.
mke2fs -q -t ext4 -L root -O ^64bit -E offset=$((begin << 20)) -d "$root" "$raw" $((size - begin))M
dd if=/usr/lib/EXTLINUX/mbr.bin of="$raw" conv=notrunc status=none
mkdir "$work/mnt"
loop=$(losetup --find --show --offset $((begin << 20)) "$raw")
mount "$loop" "$work/mnt"
extlinux --install "$work/mnt" 2>"$work/said" || { cat "$work/said" >&2; exit 1; }
umount "$work/mnt"
mv "$raw" "$disk"
