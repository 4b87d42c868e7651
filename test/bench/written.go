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

// written measures qcow2 with zstd, beside qemu-img.
func (b *bench) written(ctx context.Context) error { return b.writing(ctx, converter.compressed) }

// threads measures formats that no peer writes, beside one worker.
func (b *bench) threads(ctx context.Context) error { return b.writing(ctx, converter.threads) }

// unpacked measures the formats without compression, beside qemu-img.
func (b *bench) unpacked(ctx context.Context) error { return b.writing(ctx, converter.plain) }

// sparse measures disks of a TiB, without data and with little.
func (b *bench) sparse(ctx context.Context) error { return b.writing(ctx, converter.sparse) }

func (b *bench) writing(ctx context.Context, measure func(converter, context.Context) error) (err error) {
	dir, err := os.MkdirTemp(b.convertParent(), "imsfs-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := warm(b.data.raw); err != nil {
		return err
	}
	return measure(converter{b, filepath.Join(dir, "target")}, ctx)
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

// sparse is a TiB without data, and one with a MiB in every fourth GiB: time and memory must depend
// on the data, never on a disk's size.
func (c converter) sparse(ctx context.Context) error {
	src := filepath.Join(c.dir, "sparse.raw")
	if err := writeFile(src, func(w io.Writer) error { return w.(*os.File).Truncate(terabyte) }); err != nil {
		return err
	}
	slowest, resident, err := c.toEach(ctx, src)
	if err != nil {
		return err
	}
	memory := func(v float64) string { return bytesText(int64(v)) }
	c.table.add(
		atMost(writtenEmpty, "convert, an empty TiB to every format: the slowest, "+slowest.format, "", slowest.seconds, durationText),
		atMost(writtenMemory, "… most memory resident", "", float64(resident), memory),
	)
	if err := c.scatter(src); err != nil {
		return err
	}
	if slowest, resident, err = c.toEach(ctx, src); err != nil {
		return err
	}
	c.table.add(
		row{what: "convert, a TiB with 256 scattered MiB to every format: the slowest, " + slowest.format, ours: durationText(slowest.seconds)},
		atMost(writtenMemory, "… most memory resident", "", float64(resident), memory),
	)
	return os.Remove(src)
}

// scatter writes a MiB of the data at the begin of every fourth GiB.
func (c converter) scatter(path string) (err error) {
	from, err := os.Open(c.data.raw)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	for i := range int64(256) {
		piece := io.NewSectionReader(from, i<<22, 1<<20)
		if _, err := io.Copy(io.NewOffsetWriter(to, i<<32), piece); err != nil {
			return err
		}
	}
	return nil
}

// slow is the format that took longest.
type slow struct {
	format  string
	seconds float64
}

// toEach converts a file to every format.
func (c converter) toEach(ctx context.Context, src string) (slowest slow, resident int64, err error) {
	for format := range strings.SplitSeq(emptyTargets, ",") {
		d, use, err := c.once(ctx, func(ctx context.Context, dst string) *exec.Cmd {
			return command(ctx, c.imsfs, "convert", "-f", "raw", "-O", format, src, dst)
		})
		if err != nil {
			return slow{}, 0, err
		}
		if d.Seconds() > slowest.seconds {
			slowest = slow{format, d.Seconds()}
		}
		resident = max(resident, use.resident)
	}
	return slowest, resident, nil
}
