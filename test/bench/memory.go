package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sync/errgroup"
)

// besides is the memory that a daemon may have besides its cache.
const besides = 64 << 20

// peaks is the most memory that any daemon of this run had resident, by the size of its cache:
// VmHWM of /proc/PID/status, in which mapped files count.
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

// smallCache is a fraction of the data, and little more than the clusters that are decoded at once.
const smallCache = 64 << 20

// memory makes daemons with either cache work hard, for the peaks: readers of everything at once,
// from everywhere.
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

// crowd reads one disk from its beginning to its end, and then two with 32 readers of long pieces
// and four of small ones at the same time.
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
	const long, length = 32, 128
	for i := range long {
		readers.Go(func() error {
			skip, count := fmt.Sprint("skip=", i*diskSize>>20/long), fmt.Sprint("count=", length)
			args := []string{"if=" + disks[i%crowds], "of=/dev/null", "bs=1M", "status=none", skip, count}
			if i/crowds%2 == 0 {
				args = append(args, "iflag=direct") // past the page cache, so that the daemon has all the work
			}
			_, err := output(command(ctx, "dd", args...))
			return err
		})
	}
	for i := range 4 {
		readers.Go(func() error {
			_, err := smallReads(ctx, disks[i%crowds])
			return err
		})
	}
	return readers.Wait()
}
