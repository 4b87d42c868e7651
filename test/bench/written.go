package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	terabyte      = 1 << 40
	writtenMemory = 200 << 20 // most that a conversion may have resident
	writtenEmpty  = 2.0       // seconds for an empty TiB
	wantedSize    = 1.04      // of ours over the peer's
	wantedPlain   = 0.9       // times the peer's speed without compression
	wantedZstd    = 1.0
	wantedFastest = 1.4
	wantedChained = 1.6 // zvhd on two cores over one
	fastestLevel  = "1"
	usualQemuZstd = "-c -o compression_type=zstd -m 16 -W"
	zstdQcow2     = "-O qcow2 -o compression_type=zstd"
	emptyTargets  = "raw,qcow2,vhd,vhdx,vdi,vmdk,zvhd,zvhd2"
)

// written measures writing each format, beside qemu-img where it does that, and beside one worker where it does not.
func (b *bench) written(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(b.convertParent(), "imsfs-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := converter{b, filepath.Join(dir, "target")}
	if err := warm(b.data.raw); err != nil {
		return err
	}
	for _, part := range []func(context.Context) error{c.compressed, c.threads, c.plain, c.empty} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// sized is once, and the size of the file.
func (c converter) sized(ctx context.Context, args string) (d time.Duration, size int64, err error) {
	words := append(strings.Fields(args), c.data.raw, c.dst)
	d, err = timed(command(ctx, words[0], words[1:]...))
	if err != nil {
		return 0, 0, err
	}
	info, err := os.Stat(c.dst)
	if err != nil {
		return 0, 0, err
	}
	return d, info.Size(), os.Remove(c.dst)
}

// compressed is qcow2 with zstd, at the usual level and the fastest.
func (c converter) compressed(ctx context.Context) error {
	var usual, fastest, peer sample
	var usualSize, fastestSize, peerSize int64
	for range min(c.rounds, 3) {
		for _, part := range []struct {
			to   *sample
			size *int64
			args string
		}{
			{&usual, &usualSize, c.imsfs + " convert -f raw " + zstdQcow2},
			{&peer, &peerSize, "qemu-img convert -f raw -O qcow2 " + usualQemuZstd},
			{&fastest, &fastestSize, c.imsfs + " convert -f raw " + zstdQcow2 + " --level " + fastestLevel},
		} {
			d, size, err := c.sized(ctx, part.args)
			if err != nil {
				return err
			}
			part.to.add(d)
			*part.size = size
		}
	}
	ratio := func(size int64) float64 { return float64(size) / float64(peerSize) }
	text := func(v float64) string { return fmt.Sprintf("%.3f", v) }
	c.table.add(
		atLeast(wantedZstd, "convert, raw to qcow2 zstd, beside qemu-img "+usualQemuZstd, usual.rateText(diskSize), peer.rateText(diskSize), peer.over(usual)),
		atMost(wantedSize, "… size over qemu-img's", bytesText(peerSize), ratio(usualSize), text),
		atLeast(wantedFastest, "convert, raw to qcow2 zstd --level "+fastestLevel, fastest.rateText(diskSize), peer.rateText(diskSize), peer.over(fastest)),
		row{what: "… size over qemu-img's", ours: text(ratio(fastestSize)), peer: bytesText(peerSize)},
	)
	return nil
}

// threads is what two cores gain where no peer writes the format.
func (c converter) threads(ctx context.Context) error {
	for _, part := range []struct {
		format string
		want   float64
	}{{"zvhd2", convertScaling}, {"zvhd", wantedChained}} {
		var one, all sample
		for range min(c.rounds, 3) {
			for to, flags := range map[*sample]string{&one: " --threads 1", &all: ""} {
				d, _, err := c.sized(ctx, c.imsfs+" convert -f raw -O "+part.format+flags)
				if err != nil {
					return err
				}
				to.add(d)
			}
		}
		c.table.add(atLeast(part.want, "convert, raw to "+part.format+": over --threads 1", all.rateText(diskSize)+" over "+one.rateText(diskSize), "", one.over(all)))
	}
	return nil
}

// plain is the formats without compression.
func (c converter) plain(ctx context.Context) error {
	for _, pair := range [][2]string{{"raw", "raw"}, {"qcow2", "qcow2"}, {"vhd", "vpc"}, {"vhdx", "vhdx"}, {"vdi", "vdi"}, {"vmdk", "vmdk"}} {
		var ours, peer sample
		for range min(c.rounds, 3) {
			for to, args := range map[*sample]string{&ours: c.imsfs + " convert -f raw -O " + pair[0], &peer: "qemu-img convert -f raw -O " + pair[1] + " -m 16 -W"} {
				d, _, err := c.sized(ctx, args)
				if err != nil {
					return err
				}
				to.add(d)
			}
		}
		c.table.add(atLeast(wantedPlain, "convert, raw to "+pair[0]+", beside qemu-img", ours.rateText(diskSize), peer.rateText(diskSize), peer.over(ours)))
	}
	return nil
}

// empty is a TiB without data: time and memory must not depend on a disk's size.
func (c converter) empty(ctx context.Context) error {
	src := filepath.Join(c.dir, "empty.raw")
	if err := writeFile(src, func(w io.Writer) error { return w.(*os.File).Truncate(terabyte) }); err != nil {
		return err
	}
	var slowest time.Duration
	var resident int64
	var worst string
	for format := range strings.SplitSeq(emptyTargets, ",") {
		d, use, err := c.once(ctx, func(ctx context.Context, dst string) *exec.Cmd {
			return command(ctx, c.imsfs, "convert", "-f", "raw", "-O", format, src, dst)
		})
		if err != nil {
			return err
		}
		if d > slowest {
			slowest, worst = d, format
		}
		resident = max(resident, use.resident)
	}
	c.table.add(
		atMost(writtenEmpty, "convert, an empty TiB to every format: the slowest, "+worst, "", slowest.Seconds(), durationText),
		atMost(writtenMemory, "… most memory resident", "", float64(resident), func(v float64) string { return bytesText(int64(v)) }),
	)
	return os.Remove(src)
}
