package convert

import (
	"context"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
)

// Stream writes all bytes of the disk img to w from front to back, empty parts as zeros. Workers
// read ahead of the one whose turn it is to write.
func Stream(ctx context.Context, img formats.Image, w io.Writer, cfg Config) error {
	size := img.Info().Size
	unit := unitSize(minUnit, img)
	data := spans(ctx, img.Extent, size, unit)
	meter, err := newMeter(cfg.Progress, data)
	if err != nil {
		return err
	}
	out := &stream{w: w}
	err = parallel(ctx, cfg.workers(), inTurn(data), func() func(context.Context, job) error {
		p := make([]byte, unit)
		return func(ctx context.Context, j job) error {
			if err := img.ReadAt(ctx, p[:j.n], j.off); err != nil {
				return fmt.Errorf("reading the disk at %d: %w", j.off, err)
			}
			select {
			case <-j.prev:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := out.put(ctx, p[:j.n], j.off); err != nil {
				return err
			}
			close(j.placed)
			meter.add(j.data)
			return nil
		}
	})
	if err != nil {
		return err
	}
	return out.zeros(ctx, size)
}

// stream writes a disk to something that only goes forward. One worker uses it at a time.
type stream struct {
	w     io.Writer
	at    int64 // of the disk
	empty []byte
}

func (s *stream) put(ctx context.Context, p []byte, off int64) error {
	if err := s.zeros(ctx, off); err != nil {
		return err
	}
	return s.write(ctx, p)
}

// zeros fills up to off.
func (s *stream) zeros(ctx context.Context, off int64) error {
	if s.empty == nil {
		s.empty = make([]byte, minUnit)
	}
	for s.at < off {
		if err := s.write(ctx, s.empty[:min(off-s.at, minUnit)]); err != nil {
			return err
		}
	}
	return nil
}

func (s *stream) write(ctx context.Context, p []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, err := s.w.Write(p); err != nil {
		return fmt.Errorf("writing the disk's bytes at %d: %w", s.at, err)
	}
	s.at += int64(len(p))
	return nil
}
