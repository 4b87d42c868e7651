package convert

import (
	"context"
	"iter"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Config is common to the passes over a disk. The zero value is usable.
type Config struct {
	// Workers is the number of units in work at once; 0 is two for each CPU, because buffered
	// writes to one file exclude each other, so that a CPU needs work while a worker waits to
	// write. Memory grows by a few units for each.
	Workers int
	// Progress, if set, is called with the bytes of data that are done and how many there are, by
	// one goroutine at a time. done never falls and is 0 at first.
	Progress func(done, total int64)
}

func (c Config) workers() int {
	if c.Workers > 0 {
		return c.Workers
	}
	return 2 * runtime.GOMAXPROCS(0)
}

// parallel hands the items, in order, to workers; newWorker makes one, with the buffers it keeps.
// The first error ends the pass and is returned once all workers have stopped.
func parallel[T any](ctx context.Context, workers int, items iter.Seq2[T, error], newWorker func() func(context.Context, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan T)
	g.Go(func() error {
		defer close(queue)
		for item, err := range items {
			if err != nil {
				return err
			}
			select {
			case queue <- item:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			work := newWorker()
			for item := range queue {
				if err := work(ctx, item); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// meter counts the work done. Without a report it does nothing.
type meter struct {
	report func(done, total int64)
	total  int64

	mu   sync.Mutex // also keeps reports in order
	done int64
}

// newMeter walks the spans once to learn the total, as only an exact one gives a truthful
// percentage.
func newMeter(report func(done, total int64), spans iter.Seq2[span, error]) (*meter, error) {
	m := &meter{report: report}
	if report == nil {
		return m, nil
	}
	for s, err := range spans {
		if err != nil {
			return nil, err
		}
		m.total += s.data
	}
	report(0, m.total)
	return m, nil
}

func (m *meter) add(n int64) {
	if m.report == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.done += n
	m.report(m.done, m.total)
}
