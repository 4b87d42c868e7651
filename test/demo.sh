#!/usr/bin/env bash
# The main job, end to end: a real disk with real files becomes a ZVHD2 image, and the image becomes a raw disk again
# by being registered. Needs bin/imsfs and root; leaves nothing behind.
set -euo pipefail

imsfs=$PWD/bin/imsfs
work=$(mktemp -d "${TMPDIR:-/tmp}/imsfs-demo.XXXXXX")
loop=
PATH=$PATH:/usr/sbin:/sbin

cleanup() {
    status=$?
    trap - EXIT INT TERM
    mountpoint -q "$work/files" && umount "$work/files"
    [ -z "$loop" ] || losetup --detach "$loop"
    if mountpoint -q "$work/ims"; then
        umount "$work/ims" || umount --lazy "$work/ims"
        flock "$work/store/lock" true # held until the daemon has ended
    fi
    rm -rf --one-file-system "$work"
    exit $status
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n%s\n' "$*"; }
run() {
    printf '  $ %s\n' "$(echo "$*" | sed "s#$imsfs#imsfs#g; s#$work/##g")"
    "$@" 2>&1 | sed "s#$work/##g; s/^/    /"
}

cd "$work"
mkdir ims files tree
export IMSFS_MOUNT=$work/ims

say "A real disk: ext4 in 256 MiB, with the documentation of this machine's packages in it."
cp -a /usr/share/doc tree/ 2>/dev/null || true
du -s --bytes tree | awk -v limit=200000000 '$1 > limit { exit 1 }' || { rm -rf tree/doc; cp -a /usr/share/doc/[a-f]* tree/; }
echo 'a disk image that is, at once, a plain raw file' >tree/hello.txt
truncate --size 256M disk.raw
run mkfs.ext4 -q -d tree disk.raw

say "It becomes a ZVHD2 image: compressed blocks and an index."
run "$imsfs" convert -O zvhd2 disk.raw disk.zvhd2
run "$imsfs" info disk.zvhd2

say "The daemon mounts its tree; the image is registered."
run "$imsfs" serve ims --store store --daemon
run "$imsfs" register web disk.zvhd2 os=linux
run "$imsfs" ls
run ls -ls ims/images/web

say "The disk is a raw file, so Linux takes it as a disk. Only what is read is decoded."
loop=$(losetup --read-only --find --show ims/images/web/disk)
run mount -o ro,noload "$loop" files
run ls files
run cat files/hello.txt
run grep cache_ ims/status

say "Every byte is the original's; behind it, up to the whole GiB that the format rounds to, are zeros."
cmp --bytes="$(stat --format %s disk.raw)" disk.raw ims/images/web/disk
"$imsfs" compare disk.raw ims/images/web/disk | sed 's/^/    /'
diff --recursive --no-dereference tree files | grep -v '^Only in files: lost+found$' && exit 1
echo "    and all $(find tree -type f | wc -l) files are the same"

say "Cleaning up: unmounted, deleted, stopped."
umount files
losetup --detach "$loop"
loop=
run "$imsfs" rm web
