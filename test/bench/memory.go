package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// besides is what a daemon may occupy beyond its cache.
const besides = 64 << 20

// peaks is the most memory that any daemon of this run had resident, by the size of its cache: VmHWM of
// /proc/PID/status, in which mapped files count.
type peaks map[int64]int64

func (p peaks) note(cache, resident int64) { p[cache] = max(p[cache], resident) }

func (p peaks) rows() (rows []row) {
	for _, cache := range []int64{usualCache, smallCache} {
		if resident, ok := p[cache]; ok {
			what := fmt.Sprintf("most memory resident in the whole run, --cache-size %s", bytesText(cache))
			rows = append(rows, atMost(float64(cache+besides), what, "", float64(resident), func(n float64) string { return bytesText(int64(n)) }))
		}
	}
	return rows
}

// smallCache is a fraction of what is read, and little more than what is decoded at once.
const smallCache = 64 << 20

// memory makes daemons with either cache work hard, for the peaks: readers of everything at once, from everywhere.
func (b *bench) memory(ctx context.Context) error {
	for _, cache := range []int64{usualCache, smallCache} {
		store, err := os.MkdirTemp(b.dir, "store-")
		if err != nil {
			return err
		}
		d, err := b.serve(ctx, store, cache)
		if err != nil {
			return err
		}
		if err := errors.Join(b.crowd(ctx, d), d.stop(), os.RemoveAll(store)); err != nil {
			return err
		}
	}
	return nil
}

// crowd reads one disk from its beginning to its end, and then, under other names, with eight readers of whole disks
// and four of small pieces at the same time.
func (b *bench) crowd(ctx context.Context, d *daemon) error {
	const crowds = 2 // disks, each with half of the readers
	var disks []string
	for i := range crowds {
		name := fmt.Sprintf("disk%d", i)
		if err := d.command("register", name, b.data.zvhd2); err != nil {
			return err
		}
		disks = append(disks, d.disk(name))
	}
	if _, err := dd(ctx, disks[0]); err != nil {
		return err
	}
	readers, ctx := errgroup.WithContext(ctx)
	for i := range 8 {
		readers.Go(func() error {
			// Each begins elsewhere, and past the page cache, so that the daemon has all the work.
			skip := fmt.Sprint("skip=", i*diskSize>>20/8)
			_, err := output(command(ctx, "dd", "if="+disks[i%crowds], "of=/dev/null", "bs=1M", "iflag=direct", "status=none", skip))
			return err
		})
	}
	for i := range 4 {
		readers.Go(func() error {
			_, err := smallReads(ctx, filepath.Clean(disks[i%crowds]))
			return err
		})
	}
	return readers.Wait()
}
