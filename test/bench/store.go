package main

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The wanted rates of hydrate as shares of qemu-img's, from a machine on which qemu-img writes a zstd
// qcow2 at 540 MB/s with all its threads.
const (
	hydrateRaw   = 400.0 / 540
	hydrateQcow2 = 300.0 / 540
	storeSize    = 1.08 // of the qcow2's
	crowdReaders = 4
)

// stocked is a store with the whole disk, which is not served.
type stocked struct{ dir string }

// storeBench measures the block store: filling it, its size, and reading from it with empty caches.
func (b *bench) storeBench(ctx context.Context) error {
	var fills fills
	for range b.rounds {
		if err := fills.measure(ctx, b); err != nil {
			return err
		}
	}
	b.table.add(
		atLeast(hydrateRaw, "hydrate from raw, beside qemu-img convert -c -W -m 16", fills.raw.rateText(diskSize), fills.peer.rateText(diskSize), fills.peer.over(fills.raw)),
		atLeast(hydrateQcow2, "hydrate from qcow2 (zstd), beside the same", fills.qcow2.rateText(diskSize), fills.peer.rateText(diskSize), fills.peer.over(fills.qcow2)),
		atMost(storeSize, "the whole store on disk, times the qcow2", bytesText(fills.qcow2Size), fills.size.median(), func(v float64) string { return fmt.Sprintf("%.3f", v) }),
		atMost(0.001, "the same disk again from two other formats: growth", "", fills.growth.median(), func(v float64) string { return fmt.Sprintf("%.5f", v) }),
	)
	return errors.Join(b.storeReads(ctx), b.lazyReads(ctx))
}

type fills struct {
	raw, qcow2, peer sample
	size, growth     sample // ratios
	qcow2Size        int64
}

func (f *fills) measure(ctx context.Context, b *bench) error {
	target := filepath.Join(b.dir, "peer.qcow2")
	defer os.Remove(target)
	if err := warm(b.data.raw); err != nil {
		return err
	}
	unix.Sync() // so that no measurement waits for earlier writes
	took, err := timed(command(ctx, "qemu-img", "convert", "-W", "-m", "16", "-c", "-f", "raw", "-O", "qcow2", "-o", "compression_type=zstd", b.data.raw, target))
	if err != nil {
		return err
	}
	f.peer.add(took)
	if f.qcow2Size, err = diskUsage(target); err != nil {
		return err
	}
	store, took, err := b.fill(ctx, "raw", b.data.raw)
	if err != nil {
		return err
	}
	defer os.RemoveAll(store.dir)
	f.raw.add(took)
	used, err := diskUsage(store.dir)
	if err != nil {
		return err
	}
	f.size = append(f.size, float64(used)/float64(f.qcow2Size))
	if err := b.refill(ctx, store, b.data.zvhd2, b.data.qcow2); err != nil {
		return err
	}
	again, err := diskUsage(store.dir)
	if err != nil {
		return err
	}
	f.growth = append(f.growth, float64(again-used)/float64(used))

	other, took, err := b.fill(ctx, "qcow2", b.data.qcow2)
	if err != nil {
		return err
	}
	f.qcow2.add(took)
	b.say("hydrate: raw %.2f s, qcow2 %.2f s, peer %.2f s", f.raw[len(f.raw)-1], took.Seconds(), f.peer[len(f.peer)-1])
	return os.RemoveAll(other.dir)
}

// fill hydrates an image in a new store, and returns how long that took.
func (b *bench) fill(ctx context.Context, format, image string) (stocked, time.Duration, error) {
	dir, err := os.MkdirTemp(b.dir, "store-")
	if err != nil {
		return stocked{}, 0, err
	}
	if err := warm(image); err != nil {
		return stocked{}, 0, err
	}
	d, err := b.serve(ctx, dir, usualCache)
	if err != nil {
		return stocked{}, 0, err
	}
	unix.Sync() // as for the peer: a hydrate syncs its own, and would wait for whatever else is to be written
	took, err := d.hydrate(ctx, "disk", image, format)
	return stocked{dir}, took, errors.Join(err, d.stop())
}

// refill hydrates more images in a store.
func (b *bench) refill(ctx context.Context, store stocked, images ...string) error {
	d, err := b.serve(ctx, store.dir, usualCache)
	if err != nil {
		return err
	}
	for _, image := range images {
		format := strings.TrimPrefix(filepath.Ext(image), ".")
		if _, hydrateErr := d.hydrate(ctx, format, image, format); hydrateErr != nil {
			err = errors.Join(err, hydrateErr)
		}
	}
	return errors.Join(err, d.stop())
}

func (d *daemon) hydrate(ctx context.Context, name, image, format string) (time.Duration, error) {
	if err := d.command("register", name, image, "format="+format); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := d.imageCommand(name, "hydrate"); err != nil {
		return 0, err
	}
	ticks := time.NewTicker(50 * time.Millisecond) // looking costs the server time
	defer ticks.Stop()
	for {
		line, err := os.ReadFile(filepath.Join(d.mount, "images", name, "job"))
		switch {
		case err != nil:
			return 0, err
		case strings.HasPrefix(string(line), "DONE"):
			return time.Since(start), nil
		case strings.HasPrefix(string(line), "FAILED"):
			return 0, errors.New(string(line))
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// diskUsage is du of a file or directory.
func diskUsage(path string) (sum int64, err error) {
	err = filepath.WalkDir(path, func(p string, _ iofs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(p, &st)
		}
		sum += st.Blocks * 512
		return err
	})
	return sum, err
}

// cold are readings with the kernel's caches dropped and the server's empty.
type cold struct {
	p50, crowd, sequential sample
}

func (b *bench) storeReads(ctx context.Context) error {
	store, _, err := b.fill(ctx, "raw", b.data.raw)
	if err != nil {
		return err
	}
	defer os.RemoveAll(store.dir)
	ours := func(ctx context.Context) (served, error) {
		d, err := b.serve(ctx, store.dir, usualCache)
		if err != nil {
			return served{}, err
		}
		return served{d.disk("disk"), d.cmd.Process.Pid, d.stop}, nil
	}
	peer := func(ctx context.Context) (served, error) { return b.peer(ctx, b.data.qcow2) }
	var o, p cold
	for range b.rounds {
		if err := errors.Join(o.measure(ctx, ours), p.measure(ctx, peer)); err != nil {
			return err
		}
	}
	var p50 sample = o.p50.over(p.p50)
	b.table.add(
		row{"store, all caches empty: 4 KiB random, p50", durationText(o.p50.median()), durationText(p.p50.median()), p50.ratioText(), "≤ 0.8", yesNo(p50.median() <= 0.8)},
		atLeast(1.5, "… rate of 4 readers", o.crowd.perSecond(crowdReaders*firstReads), p.crowd.perSecond(crowdReaders*firstReads), p.crowd.over(o.crowd)),
		atLeast(1.2, "… sequential", o.sequential.rateText(diskSize), p.sequential.rateText(diskSize), p.sequential.over(o.sequential)),
	)
	return nil
}

func (s sample) perSecond(n int) string { return fmt.Sprintf("%.0f/s", float64(n)/s.median()) }

func (c *cold) measure(ctx context.Context, serve func(context.Context) (served, error)) error {
	for _, part := range []func(context.Context, string) error{c.alone, c.together, c.straight} {
		s, err := serve(ctx)
		if err != nil {
			return err
		}
		err = dropCaches()
		if err == nil {
			err = part(ctx, s.disk)
		}
		if err := errors.Join(err, s.stop()); err != nil {
			return err
		}
	}
	return nil
}

func (c *cold) alone(ctx context.Context, disk string) error {
	s, err := smallReads(ctx, disk)
	if err == nil {
		c.p50 = append(c.p50, s.cold.quantile(0.5))
	}
	return err
}

func (c *cold) together(ctx context.Context, disk string) error {
	f, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer f.Close()
	var wg sync.WaitGroup
	errs := make([]error, crowdReaders)
	start := time.Now()
	for i := range crowdReaders {
		wg.Go(func() { _, errs[i] = readEach(ctx, f, placesOf(i)) })
	}
	wg.Wait()
	c.crowd.add(time.Since(start))
	return errors.Join(errs...)
}

// placesOf are a reader's own places, the same for everybody's reader of that number.
func placesOf(reader int) []int {
	places := make([]int, firstReads)
	for i := range places {
		places[i] = (i*7919 + reader*104729) * 61 % (diskSize / smallRead)
	}
	return places
}

func (c *cold) straight(ctx context.Context, disk string) error {
	took, err := dd(ctx, disk)
	c.sequential.add(took)
	return err
}

// dropCaches empties the kernel's caches.
func dropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0o200)
}

// lazyReads reads a fresh image from front to back while it is being stored, and without.
func (b *bench) lazyReads(ctx context.Context) error {
	var lazy, none sample
	for range b.rounds {
		for _, mode := range []struct {
			load string
			to   *sample
		}{{"none", &none}, {"lazy", &lazy}} {
			took, err := b.firstPass(ctx, mode.load)
			if err != nil {
				return err
			}
			mode.to.add(took)
		}
	}
	b.table.add(atLeast(0.8, "sequential, cold, load=lazy beside load=none", lazy.rateText(diskSize), none.rateText(diskSize), none.over(lazy)))
	return nil
}

func (b *bench) firstPass(ctx context.Context, load string) (time.Duration, error) {
	dir, err := os.MkdirTemp(b.dir, "store-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := warm(b.data.zvhd2); err != nil {
		return 0, err
	}
	d, err := b.serve(ctx, dir, usualCache)
	if err != nil {
		return 0, err
	}
	if err := d.command("register", "disk", b.data.zvhd2, "load="+load); err != nil {
		return 0, errors.Join(err, d.stop())
	}
	took, err := dd(ctx, d.disk("disk"))
	return took, errors.Join(err, d.stop())
}
