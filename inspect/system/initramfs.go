package system

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
)

// VirtioDrivers are the drivers that a guest on virtio needs to find its disk and network.
func VirtioDrivers() []string {
	return []string{"virtio", "virtio_ring", "virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net"}
}

const (
	maxInitramfs = 256 << 20 // of an initramfs as it is stored
	maxUnpacked  = 512 << 20
	maxArchived  = 100_000 // files
)

// virtio finds the virtio drivers of a kernel. A kernel whose configuration says that all are built
// in needs no look into its initramfs.
func (s *System) virtio(ctx context.Context, v *View, k *Kernel) {
	found := map[string]bool{}
	known := false
	add := func(path string, drivers []string) {
		known = true
		k.VirtioFrom = append(k.VirtioFrom, path)
		for _, d := range drivers {
			found[d] = true
		}
	}
	builtin := "/lib/modules/" + k.Version + "/modules.builtin"
	if p, err := v.Read(ctx, builtin); err == nil {
		var drivers []string
		for line := range strings.Lines(string(p)) {
			drivers = append(drivers, driverName(strings.TrimSpace(line)))
		}
		add(builtin, drivers)
	}
	if p, err := v.Read(ctx, "/boot/config-"+k.Version); err == nil {
		add("/boot/config-"+k.Version, builtinConfig(string(p)))
	}
	if k.Initrd != "" && !hasAll(found) {
		p, err := v.read(ctx, k.Initrd, maxInitramfs)
		var names []string
		if err == nil {
			names, err = Initramfs(p)
		}
		if err != nil {
			s.Notes = append(s.Notes, fmt.Sprintf("%s: %v", k.Initrd, err))
			known = false
		} else {
			var drivers []string
			for _, name := range names {
				drivers = append(drivers, driverName(name))
			}
			add(k.Initrd, drivers)
		}
	}
	if !known {
		return
	}
	k.Virtio = []string{}
	for _, d := range VirtioDrivers() {
		if found[d] {
			k.Virtio = append(k.Virtio, d)
		}
	}
}

func hasAll(found map[string]bool) bool {
	return !slices.ContainsFunc(VirtioDrivers(), func(d string) bool { return !found[d] })
}

// driverName returns the name of a module's file: "virtio_blk" of "…/virtio_blk.ko.xz".
func driverName(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	name, _, found := strings.Cut(name, ".ko")
	if !found {
		return ""
	}
	return strings.ReplaceAll(name, "-", "_")
}

// builtinConfig returns the virtio drivers that a kernel configuration builds in.
func builtinConfig(text string) []string {
	var drivers []string
	for line := range strings.Lines(text) {
		switch strings.TrimSpace(line) {
		case "CONFIG_VIRTIO=y":
			drivers = append(drivers, "virtio", "virtio_ring")
		case "CONFIG_VIRTIO_PCI=y":
			drivers = append(drivers, "virtio_pci")
		case "CONFIG_VIRTIO_BLK=y":
			drivers = append(drivers, "virtio_blk")
		case "CONFIG_SCSI_VIRTIO=y":
			drivers = append(drivers, "virtio_scsi")
		case "CONFIG_VIRTIO_NET=y":
			drivers = append(drivers, "virtio_net")
		}
	}
	return drivers
}

// Initramfs returns the names of the files in an initramfs: cpio archives one after another, of
// which the first may be uncompressed and hold only microcode.
func Initramfs(p []byte) ([]string, error) {
	var names []string
	for {
		p = bytes.TrimLeft(p, "\x00")
		if len(p) == 0 {
			return names, nil
		}
		if bytes.HasPrefix(p, []byte("0707")) {
			in := &counting{r: bufio.NewReader(bytes.NewReader(p))}
			err := cpio(in, &names)
			if err != nil {
				return nil, err
			}
			p = p[min(in.n, int64(len(p))):]
			continue
		}
		plain, err := decompress(p)
		if err != nil {
			return nil, err
		}
		in := &counting{r: bufio.NewReader(io.LimitReader(plain, maxUnpacked))}
		err = cpio(in, &names)
		return names, err
	}
}

func decompress(p []byte) (io.Reader, error) {
	switch {
	case bytes.HasPrefix(p, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(bytes.NewReader(p))
		if err != nil {
			return nil, disk.Corrupt("initramfs", "gzip header", "%v", err)
		}
		return z, nil
	case bytes.HasPrefix(p, []byte("\x28\xb5\x2f\xfd")):
		return newZstd(p)
	case bytes.HasPrefix(p, []byte("\xfd7zXZ")):
		return nil, disk.Unsupported("initramfs", "compressed by xz")
	case bytes.HasPrefix(p, []byte("\x02\x21\x4c\x18")):
		return nil, disk.Unsupported("initramfs", "compressed by lz4")
	case bytes.HasPrefix(p, []byte("\x5d\x00\x00")):
		return nil, disk.Unsupported("initramfs", "compressed by lzma")
	case bytes.HasPrefix(p, []byte("\x89LZO")):
		return nil, disk.Unsupported("initramfs", "compressed by lzo")
	}
	return nil, disk.Corrupt("initramfs", "beginning of an archive", "% x is the magic of no known compression", p[:min(4, len(p))])
}

// counting counts the bytes read.
type counting struct {
	r *bufio.Reader
	n int64
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counting) skip(n int64) error {
	skipped, err := io.CopyN(io.Discard, c, n)
	if skipped < n && err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// cpio reads one archive of the newc format up to its trailer.
func cpio(in *counting, names *[]string) error {
	var header [110]byte
	for {
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return archiveError(err)
		}
		if m := string(header[:6]); m != "070701" && m != "070702" {
			return disk.Corrupt("initramfs", "cpio header", "its magic is %q", m)
		}
		size, err1 := strconv.ParseInt(string(header[54:62]), 16, 64)
		length, err2 := strconv.ParseInt(string(header[94:102]), 16, 64)
		if err1 != nil || err2 != nil || length < 1 || length > 4096 {
			return disk.Corrupt("initramfs", "cpio header", "a name of %q bytes, a file of %q", header[94:102], header[54:62])
		}
		name := make([]byte, (110+length+3)&^3-110)
		if _, err := io.ReadFull(in, name); err != nil {
			return archiveError(err)
		}
		text, _, _ := bytes.Cut(name, []byte{0})
		if string(text) == "TRAILER!!!" {
			return nil
		}
		if len(*names) == maxArchived {
			return disk.Corrupt("initramfs", "archive", "more than %d files", maxArchived)
		}
		*names = append(*names, string(text))
		if err := in.skip((size + 3) &^ 3); err != nil {
			return archiveError(err)
		}
	}
}

func archiveError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return disk.Corrupt("initramfs", "archive", "it ends before its trailer")
	}
	return disk.Corrupt("initramfs", "archive", "%v", err)
}
