package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	changed    = 256 << 20
	commitRate = 200e6 // bytes a second
)

// volumeCommits changes the same 256 MiB of a disk of a GiB and of a TiB, and makes images of both.
func (b *bench) volumeCommits(ctx context.Context) error {
	small, large := sample{}, sample{}
	for range b.rounds {
		for to, size := range map[*sample]int64{&small: diskSize, &large: terabyte} {
			took, err := b.commit(ctx, size)
			if err != nil {
				return err
			}
			to.add(took)
		}
	}
	rate := func(s sample) float64 { return changed / s.median() }
	for _, of := range []struct {
		what string
		took sample
	}{{"1 GiB", small}, {"1 TiB", large}} {
		b.table.add(row{"volume: commit, 256 MiB changed of " + of.what, fmt.Sprintf("%.0f MB/s (%s)", rate(of.took)/1e6, durationText(of.took.median())), "", "",
			fmt.Sprintf("≥ %.0f MB/s", commitRate/1e6), yesNo(rate(of.took) >= commitRate)})
	}
	return b.volumeStall(ctx)
}

// commit is what one takes, from the write of the command to the end of its job.
func (b *bench) commit(ctx context.Context, size int64) (took time.Duration, err error) {
	d, stop, err := b.changedVolume(ctx, size)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	start := time.Now()
	if err := d.write(d.volume("one", "ctl"), "commit", "next"); err != nil {
		return 0, err
	}
	return d.jobDone(ctx, d.volume("one", "job"), start)
}

// changedVolume is a volume "one" of a disk of that size, of which 256 MiB were written, by a
// daemon and a store of its own.
func (b *bench) changedVolume(ctx context.Context, size int64) (*storeDaemon, func() error, error) {
	d, stop, err := b.fresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	if size == diskSize {
		err = d.command("register", "empty", b.data.raw, "format=raw")
	} else {
		err = d.registerEmpty(b, size)
	}
	if err == nil {
		err = d.imageCommand("empty", "clone", "one")
	}
	if err == nil {
		err = b.change(ctx, d.volume("one", "disk"), size)
	}
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return d, stop, nil
}

// change writes real data, at a place where no image has it, so that the store has none of its
// blocks.
func (b *bench) change(ctx context.Context, disk string, size int64) (err error) {
	src, err := os.Open(b.data.raw)
	if err != nil {
		return err
	}
	defer src.Close()
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	const pieces = 64 // here and there
	const piece = changed / pieces
	for i := range int64(pieces) {
		at := io.NewOffsetWriter(f, size/pieces*i)
		if _, err := io.Copy(at, io.NewSectionReader(src, diskSize/pieces*i+4096, piece)); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return f.Sync()
}

// registerEmpty makes a sparse file an image.
func (d *storeDaemon) registerEmpty(b *bench, size int64) error {
	path := filepath.Join(b.dir, "empty.raw")
	if err := writeFile(path, func(w io.Writer) error { return w.(*os.File).Truncate(size) }); err != nil {
		return err
	}
	return d.command("register", "empty", path, "format=raw")
}

// jobDone waits for the end of a job, and tells how long it took since.
func (d *daemon) jobDone(ctx context.Context, path string, since time.Time) (time.Duration, error) {
	for again := time.NewTicker(20 * time.Millisecond); ; {
		line, err := os.ReadFile(path)
		switch {
		case err != nil:
			return 0, err
		case strings.HasPrefix(string(line), "DONE"):
			again.Stop()
			return time.Since(since), nil
		case !strings.HasPrefix(string(line), "RUNNING") && !strings.HasPrefix(string(line), "QUEUED"):
			return 0, fmt.Errorf("the job: %s", line)
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
