package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	memoryDir      = "/dev/shm"
	convertRoom    = 3 << 30
	convertScaling = 1.7 // wanted of two cores against one
)

// conversion is one program's way of encoding or decoding the data to a file.
type conversion func(ctx context.Context, dst string) *exec.Cmd

// convert measures encoding and decoding on one core and on two, beside the peer and zstd. The
// target is in memory if there is room, because the disk should not be measured.
func (b *bench) convert(ctx context.Context) (err error) {
	parent := b.convertParent()
	dir, err := os.MkdirTemp(parent, "imsfs-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := converter{b, filepath.Join(dir, "target")}
	zst := filepath.Join(dir, "data.zst")
	if _, err := output(command(ctx, "zstd", "-q", "-T2", "-3", b.data.raw, "-o", zst)); err != nil {
		return err
	}
	raw, zvhd2, qcow2 := b.data.raw, b.data.zvhd2, b.data.qcow2
	err = c.scaling(ctx, "convert, raw to zvhd2, in "+parent, "convert to qcow2", raw, []string{"-f", "raw", "-O", "zvhd2", raw},
		func(ctx context.Context, dst string) *exec.Cmd { return toQcow2(ctx, raw, dst) },
		func(ctx context.Context, dst string) *exec.Cmd {
			return command(ctx, "zstd", "-q", "-f", "-T2", "-3", raw, "-o", dst)
		})
	if err != nil {
		return err
	}
	return c.scaling(ctx, "convert, zvhd2 to raw, in "+parent, "convert from qcow2", zvhd2, []string{"-f", "zvhd2", "-O", "raw", zvhd2},
		func(ctx context.Context, dst string) *exec.Cmd {
			return command(ctx, "qemu-img", "convert", "-f", "qcow2", "-O", "raw", qcow2, dst)
		},
		func(ctx context.Context, dst string) *exec.Cmd {
			return command(ctx, "zstd", "-q", "-f", "-d", zst, "-o", dst)
		})
}

func (b *bench) convertParent() string {
	if free, err := freeSpace(memoryDir); err == nil && free > convertRoom {
		return memoryDir
	}
	return b.dir
}

type converter struct {
	*bench
	dst string
}

// scaling measures our conversion, args without the target, with one core and with two, and the
// others.
func (c converter) scaling(ctx context.Context, what, peerWhat, src string, args []string, peer, zstd conversion) error {
	if err := warm(src); err != nil {
		return err
	}
	var one, lone, two, qemu, bare sample
	var resident int64
	for range min(c.rounds, 3) { // each takes seconds
		for _, part := range []struct {
			to   *sample
			make conversion
		}{
			{&one, c.pinned(args)},
			{&lone, c.cores(1, args)},
			{&two, c.cores(2, args)},
			{&qemu, peer},
			{&bare, zstd},
		} {
			d, used, err := c.once(ctx, part.make)
			if err != nil {
				return err
			}
			part.to.add(d)
			if part.to == &two {
				resident = max(resident, used.resident)
			}
		}
	}
	c.table.add(
		atLeast(convertScaling, what+": two cores over one", two.rateText(diskSize)+" over "+one.rateText(diskSize), "", one.over(two)),
		atLeast(convertScaling, what+": two cores over GOMAXPROCS=1", two.rateText(diskSize)+" over "+lone.rateText(diskSize), "", lone.over(two)),
		row{what: what + ": beside qemu-img " + peerWhat, ours: two.rateText(diskSize), peer: qemu.rateText(diskSize), ratio: qemu.over(two).ratioText()},
		row{what: what + ": beside zstd -T2 -3 of the whole", ours: two.rateText(diskSize), peer: bare.rateText(diskSize), ratio: bare.over(two).ratioText()},
		row{what: what + ": most memory resident", ours: bytesText(resident)},
	)
	return nil
}

func (c converter) cores(n int, args []string) conversion {
	return func(ctx context.Context, dst string) *exec.Cmd {
		args := append([]string{"convert"}, args...)
		cmd := command(ctx, c.imsfs, append(args, dst)...)
		cmd.Env = append(os.Environ(), fmt.Sprint("GOMAXPROCS=", n))
		return cmd
	}
}

// pinned is a conversion that has one processor. GOMAXPROCS=1 alone does not do that: while one
// thread writes, in the kernel, another goes on decoding on the other processor.
func (c converter) pinned(args []string) conversion {
	return func(ctx context.Context, dst string) *exec.Cmd {
		one := c.cores(1, args)(ctx, dst)
		cmd := command(ctx, "taskset", append([]string{"-c", "0"}, one.Args...)...)
		cmd.Env = one.Env
		return cmd
	}
}

// once runs one conversion to a new target, which it removes.
func (c converter) once(ctx context.Context, make conversion) (_ time.Duration, _ usage, err error) {
	cmd := make(ctx, c.dst)
	defer func() { err = errors.Join(err, os.Remove(c.dst)) }()
	d, err := timed(cmd)
	if err != nil {
		return 0, usage{}, err
	}
	return d, usageOf(cmd), nil
}
