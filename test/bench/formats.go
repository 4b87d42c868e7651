package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The wanted ratios of reading a whole image, beside qemu-img.
const (
	plainWanted      = 0.9
	compressedWanted = 1.2
)

// layout is a format, or a variety of one, in which the data is read.
type layout struct {
	name   string
	format string   // ours
	peer   string   // qemu-img's name for it; "" if it has none
	opts   []string // of qemu-img convert, that make it; none: our convert makes it
	wanted float64  // 0 if nothing is wanted
}

func layouts() []layout {
	return []layout{
		{"raw", "raw", "raw", []string{"-O", "raw"}, plainWanted},
		{"qcow2", "qcow2", "qcow2", []string{"-O", "qcow2"}, plainWanted},
		{"qcow2, deflate", "qcow2", "qcow2", []string{"-c", "-W", "-m", "4", "-O", "qcow2"}, compressedWanted},
		{"qcow2, zstd", "qcow2", "qcow2", []string{"-c", "-W", "-m", "4", "-O", "qcow2", "-o", "compression_type=zstd"}, compressedWanted},
		{"qcow", "qcow", "qcow", []string{"-O", "qcow"}, plainWanted},
		{"qed", "qed", "qed", []string{"-O", "qed"}, plainWanted},
		{"vdi", "vdi", "vdi", []string{"-O", "vdi"}, plainWanted},
		{"vhd, dynamic", "vhd", "vpc", []string{"-O", "vpc", "-o", "force_size"}, plainWanted},
		{"vhd, fixed", "vhd", "vpc", []string{"-O", "vpc", "-o", "force_size,subformat=fixed"}, plainWanted},
		{"vhdx", "vhdx", "vhdx", []string{"-O", "vhdx"}, plainWanted},
		{"vmdk, monolithicSparse", "vmdk", "vmdk", []string{"-O", "vmdk"}, plainWanted},
		{"vmdk, streamOptimized", "vmdk", "vmdk", []string{"-O", "vmdk", "-o", "subformat=streamOptimized"}, compressedWanted},
		{"zvhd2", "zvhd2", "", nil, 0},
		{"zvhd", "zvhd", "", nil, 0},
	}
}

// plainFormats are those without compressed clusters.
func (b *bench) plainFormats(ctx context.Context) error {
	return b.formats(ctx, func(l layout) bool { return l.wanted == plainWanted })
}

// packedFormats are those with compressed clusters.
func (b *bench) packedFormats(ctx context.Context) error {
	return b.formats(ctx, func(l layout) bool { return l.wanted != plainWanted })
}

// formats measures how fast the whole disk is read from each format, written as raw to memory,
// beside qemu-img. Images lie there one at a time, unless they are kept.
func (b *bench) formats(ctx context.Context, chosen func(layout) bool) (err error) {
	parent := b.dir
	if free, err := freeSpace(memoryDir); err == nil && free > convertRoom {
		parent = memoryDir
	}
	dir, err := os.MkdirTemp(parent, "imsfs-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := converter{b, filepath.Join(dir, "target")}
	for _, l := range layouts() {
		if !chosen(l) {
			continue
		}
		if err := c.whole(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func (c converter) whole(ctx context.Context, l layout) (err error) {
	image, err := c.image(ctx, l)
	if err != nil {
		return err
	}
	if !c.keep {
		defer func() { err = errors.Join(err, os.Remove(image)) }()
	}
	if err := warm(image); err != nil {
		return err
	}
	rivals := []conversion{func(ctx context.Context, dst string) *exec.Cmd {
		return command(ctx, c.imsfs, "convert", "-f", l.format, "-O", "raw", image, dst)
	}}
	if l.peer != "" {
		rivals = append(rivals, func(ctx context.Context, dst string) *exec.Cmd {
			return command(ctx, "qemu-img", "convert", "-f", l.peer, "-O", "raw", image, dst)
		})
	}
	took, processor := make([]sample, len(rivals)), make([]sample, len(rivals))
	rounds := c.rounds
	if l.format == "qcow" {
		rounds = 1 // the peer takes half a minute
	}
	for range rounds {
		for i, make := range rivals {
			d, used, err := c.once(ctx, make)
			if err != nil {
				return err
			}
			took[i].add(d)
			processor[i].add(used.processor)
		}
	}
	what := "whole image, " + l.name
	spent := "… processor time"
	if l.peer == "" {
		c.table.add(row{what: what, ours: took[0].rateText(diskSize)}, row{what: spent, ours: durationText(processor[0].median())})
		return nil
	}
	c.table.add(
		atLeast(l.wanted, what, took[0].rateText(diskSize), took[1].rateText(diskSize), took[1].over(took[0])),
		row{what: spent, ours: durationText(processor[0].median()), peer: durationText(processor[1].median()), ratio: processor[1].over(processor[0]).ratioText()},
	)
	return nil
}

// image makes the data in a layout, unless it is there.
func (c converter) image(ctx context.Context, l layout) (string, error) {
	path := filepath.Join(c.data.dir, "whole-"+strings.ReplaceAll(l.name, ", ", "-"))
	if !missing(path) {
		return path, nil
	}
	cmd := command(ctx, c.imsfs, "convert", "-f", "raw", "-O", l.format, c.data.raw, path)
	if l.opts != nil {
		cmd = command(ctx, "qemu-img", append(append([]string{"convert", "-f", "raw"}, l.opts...), c.data.raw, path)...)
	}
	_, err := output(cmd)
	return path, err
}
