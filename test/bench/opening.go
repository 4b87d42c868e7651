package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// What opening an image of 1 TiB may take; the memory is that of the whole program.
const (
	openTime    = 20e-3
	openMemory  = 32 << 20
	openingSize = 1 << 40
)

// opening measures what imsfs info takes longer than imsfs version, which opens nothing, on an
// empty disk of 1 TiB in each format: the tables of some are as large as those of a full one.
func (b *bench) opening(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp(b.dir, "opening-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(raw, openingSize); err != nil {
		return err
	}
	for _, o := range openings() {
		image := filepath.Join(dir, "image")
		if _, err := output(o.create(ctx, b.imsfs, raw, image)); err != nil {
			return err
		}
		if err := b.open(ctx, o.name, o.format, image); err != nil {
			return err
		}
		if err := os.RemoveAll(image); err != nil {
			return err
		}
	}
	return nil
}

// empty is a kind of image of which an empty one is opened.
type empty struct {
	name, format string
	opts         []string // of qemu-img create; none: our convert makes it
}

func openings() []empty {
	return []empty{
		{"raw", "raw", []string{"-f", "raw"}},
		{"qcow2", "qcow2", []string{"-f", "qcow2"}},
		{"qcow2, clusters of 4 KiB", "qcow2", []string{"-f", "qcow2", "-o", "cluster_size=4096"}},
		{"qcow2, all tables", "qcow2", []string{"-f", "qcow2", "-o", "cluster_size=2M,preallocation=metadata"}},
		{"qcow", "qcow", []string{"-f", "qcow"}},
		{"qed", "qed", []string{"-f", "qed"}},
		{"vdi", "vdi", []string{"-f", "vdi"}},
		{"vhd, dynamic", "vhd", []string{"-f", "vpc", "-o", "force_size"}},
		{"vhd, fixed", "vhd", []string{"-f", "vpc", "-o", "force_size,subformat=fixed"}},
		{"vhdx", "vhdx", []string{"-f", "vhdx"}},
		{"vhdx, blocks of 1 MiB", "vhdx", []string{"-f", "vhdx", "-o", "block_size=1M"}},
		{"vmdk, monolithicSparse", "vmdk", []string{"-f", "vmdk"}},
		{"vmdk, streamOptimized", "vmdk", []string{"-f", "vmdk", "-o", "subformat=streamOptimized"}},
		{"zvhd2", "zvhd2", nil},
		{"zvhd", "zvhd", nil},
	}
}

func (e empty) create(ctx context.Context, imsfs, raw, image string) *exec.Cmd {
	if e.opts == nil {
		return command(ctx, imsfs, "convert", "-f", "raw", "-O", e.format, raw, image)
	}
	return command(ctx, "qemu-img", append(append([]string{"create"}, e.opts...), image, fmt.Sprint(openingSize))...)
}

// open looks at an image several times, and keeps the medians of times and the most memory.
func (b *bench) open(ctx context.Context, name, format, image string) error {
	var took, bare, processor, idle sample
	var resident int64
	for range 4 * b.rounds { // each is a matter of milliseconds
		cmd := command(ctx, b.imsfs, "info", "-f", format, image)
		d, err := timed(cmd)
		if err != nil {
			return err
		}
		took.add(d)
		nothing := command(ctx, b.imsfs, "version")
		start, err := timed(nothing)
		if err != nil {
			return err
		}
		bare.add(start)
		idle.add(usageOf(nothing).processor)
		used := usageOf(cmd)
		processor.add(used.processor)
		resident = max(resident, used.resident)
	}
	b.table.add(
		atMost(openTime, "opening 1 TiB, "+name, durationText(bare.median())+" for the start", took.median()-bare.median(), durationText),
		row{what: "… processor time of all", ours: durationText(processor.median()), peer: durationText(idle.median()) + " for the start"},
		atMost(openMemory, "… memory resident", "", float64(resident), func(v float64) string { return bytesText(int64(v)) }),
	)
	return nil
}
