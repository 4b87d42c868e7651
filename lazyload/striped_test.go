package lazyload

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"

	"github.com/imsfs/imsfs/formats"
)

// striped is an image without a file. Its clusters are compressed data, zeros, plain data or
// unallocated by a repeated pattern. Each word of data is its own offset, so that a misplaced byte
// shows its origin.
type striped struct {
	size, cluster int64
	pattern       string // a letter for each cluster, repeated: c, z, p, u
	fail          func(off int64) error
	gate          chan struct{} // if not nil, reading waits for it

	reads   atomic.Int64 // calls of ReadAt
	partial atomic.Int64 // those that read a compressed cluster in part
	untrue  atomic.Int64 // those for bytes that are not data
}

func (s *striped) Info() formats.Info {
	return formats.Info{Format: "striped", Size: s.size, ClusterSize: s.cluster, Compression: "none"}
}

func (s *striped) kind(off int64) byte { return s.pattern[off/s.cluster%int64(len(s.pattern))] }

func (s *striped) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	kind, end := s.kind(off), off+n
	next := off
	for next < end && s.kind(next) == kind {
		next = (next/s.cluster + 1) * s.cluster
	}
	e := formats.Extent{Off: off, Len: min(next, end) - off, State: formats.Data, Compressed: kind == 'c'}
	switch kind {
	case 'z':
		e.State = formats.Zero
	case 'u':
		e.State = formats.Unallocated
	}
	return e, nil
}

func (s *striped) ReadAt(ctx context.Context, p []byte, off int64) error {
	s.reads.Add(1)
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	e, _ := s.Extent(ctx, off, int64(len(p)))
	if e.State != formats.Data || e.Len < int64(len(p)) {
		s.untrue.Add(1)
	}
	if e.Compressed && (off%s.cluster != 0 || (int64(len(p)) != s.cluster && off+int64(len(p)) != s.size)) {
		s.partial.Add(1)
	}
	if s.fail != nil {
		if err := s.fail(off); err != nil {
			return err
		}
	}
	s.model(p, off)
	return nil
}

// model fills p with the disk's bytes at off.
func (s *striped) model(p []byte, off int64) {
	var word [8]byte
	for i := range p {
		at := off + int64(i)
		if k := s.kind(at); k == 'z' || k == 'u' {
			p[i] = 0
			continue
		}
		if i == 0 || at%8 == 0 {
			binary.LittleEndian.PutUint64(word[:], uint64(at/8*8)|0x5a<<56)
		}
		p[i] = word[at%8]
	}
}

// check compares p with the model.
func (s *striped) check(p []byte, off int64) error {
	want := make([]byte, len(p))
	s.model(want, off)
	for i := range p {
		if p[i] != want[i] {
			return fmt.Errorf("byte %d of the disk is %#x, want %#x", off+int64(i), p[i], want[i])
		}
	}
	return nil
}
