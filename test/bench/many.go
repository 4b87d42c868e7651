package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

const manyImages = 1000

// many measures a store with a thousand images: registering, starting, and memory while idle.
func (b *bench) many(ctx context.Context) error {
	image := filepath.Join(b.dir, "small.raw")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		return err
	}
	store := filepath.Join(b.dir, "many")
	d, err := b.serve(ctx, store, usualCache)
	if err != nil {
		return err
	}
	start := time.Now()
	err = registerMany(ctx, d, image)
	each := time.Since(start).Seconds() / manyImages
	filled, statErr := statusBytes(d.cmd.Process.Pid, "VmRSS")
	if err := errors.Join(err, statErr, d.stop()); err != nil {
		return err
	}
	var ready, idle sample
	for range b.rounds {
		if d, err = b.serve(ctx, store, usualCache); err != nil {
			return err
		}
		rss, err := statusBytes(d.cmd.Process.Pid, "VmRSS")
		if err := errors.Join(err, d.stop()); err != nil {
			return err
		}
		ready.add(d.ready)
		idle = append(idle, float64(rss))
	}
	b.table.add(
		row{what: "registering 1000 images: each", ours: durationText(each)},
		row{what: "1000 images: memory resident after that", ours: bytesText(filled)},
		row{what: "1000 images: from the daemon's start to ready", ours: durationText(ready.median())},
		row{what: "1000 images: memory resident then, idle", ours: bytesText(int64(idle.median()))},
	)
	return nil
}

func registerMany(ctx context.Context, d *daemon, image string) error {
	for i := range manyImages {
		if err := d.command("register", fmt.Sprintf("image%04d", i), image); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
