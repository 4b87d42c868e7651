package convert_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// seeds is how many disks a test makes: under the race detector, which sees most in the first, fewer.
func seeds() uint64 {
	if testing.Short() {
		return 8
	}
	return 30
}

// fakeImage is a disk in memory: where says what each grain of 4096 bytes is; only Data grains are read from bytes.
type fakeImage struct {
	info  formats.Info
	bytes []byte
	where []formats.State

	reads  atomic.Int64
	onRead func(ctx context.Context, off int64) error // optional, before a read
}

const grain = 4096

// newFakeImage makes a disk of runs of data, zeros and nothing; some of the data are zeros too.
func newFakeImage(rng *rand.Rand, size, cluster int64, compression string) *fakeImage {
	f := &fakeImage{
		info:  formats.Info{Format: "fake", Size: size, ClusterSize: cluster, Compression: compression},
		bytes: make([]byte, size),
	}
	for int64(len(f.where))*grain < size {
		state, run := formats.State(rng.IntN(3)), 1+rng.IntN(400)
		for range run {
			f.where = append(f.where, state)
		}
		if state == formats.Data && rng.IntN(3) > 0 {
			start := int64(len(f.where)-run) * grain
			for off := start; off < min(size, start+int64(run)*grain); off += 1 + rng.Int64N(9000) {
				f.bytes[off] = byte(off) | 1
			}
		}
	}
	return f
}

func (f *fakeImage) Info() formats.Info { return f.info }

func (f *fakeImage) Extent(_ context.Context, off, n int64) (formats.Extent, error) {
	e := formats.Extent{Off: off, State: f.where[off/grain]}
	end := off
	for end < off+n && f.where[end/grain] == e.State {
		end = min(end/grain*grain+grain, off+n)
	}
	e.Len = end - off
	return e, nil
}

func (f *fakeImage) ReadAt(ctx context.Context, p []byte, off int64) error {
	f.reads.Add(1)
	if f.onRead != nil {
		if err := f.onRead(ctx, off); err != nil {
			return err
		}
	}
	copy(p, f.bytes[off:off+int64(len(p))])
	return nil
}

// fakeEncoder stores clusters one behind the other, each with a header of number and length, cut behind its last
// byte that is not zero; some it stores as they are, as an encoder may, which returns plain itself.
type fakeEncoder struct {
	cluster int64
	encode  func(ci int64) error // optional
	placeAt func(ci int64) error // optional

	mu       sync.Mutex
	end      int64
	placed   []int64
	offs     []int64
	finished int
}

func (e *fakeEncoder) ClusterSize() int64 { return e.cluster }

func (e *fakeEncoder) Encode(dst, plain []byte, ci int64) ([]byte, error) {
	if int64(len(plain)) != e.cluster || len(dst) != 0 {
		return nil, fmt.Errorf("cluster %d has %d plain bytes, dst %d", ci, len(plain), len(dst))
	}
	if e.encode != nil {
		if err := e.encode(ci); err != nil {
			return nil, err
		}
	}
	if storedPlain(ci) {
		return plain, nil
	}
	body := bytes.TrimRight(plain, "\x00")
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(body)))
	return append(dst, body...), nil
}

// storedPlain is true for several clusters in a row, and false for several.
func storedPlain(ci int64) bool { return ci%5 >= 2 }

func (e *fakeEncoder) Place(ci int64, n int) (int64, error) {
	if e.placeAt != nil {
		if err := e.placeAt(ci); err != nil {
			return 0, err
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	off := e.end
	e.end += int64(n)
	e.placed = append(e.placed, ci)
	e.offs = append(e.offs, off)
	return off, nil
}

func (e *fakeEncoder) Finish(_ context.Context, dst formats.Target) error {
	e.finished++
	return dst.Truncate(e.end)
}

// decode reads the target back into a disk.
func (e *fakeEncoder) decode(t *testing.T, target *fakeTarget, size int64) []byte {
	t.Helper()
	disk := make([]byte, (size+e.cluster-1)/e.cluster*e.cluster)
	for i, ci := range e.placed {
		p := target.bytes[e.offs[i]:]
		if storedPlain(ci) {
			p = p[:e.cluster]
		} else {
			p = p[8 : 8+binary.LittleEndian.Uint64(p)]
		}
		copy(disk[ci*e.cluster:], p)
	}
	return disk[:size]
}

// nonZero lists the clusters that are not all zeros.
func nonZero(disk []byte, cluster int64) []int64 {
	var list []int64
	for ci := int64(0); ci*cluster < int64(len(disk)); ci++ {
		if !allZero(disk[ci*cluster : min((ci+1)*cluster, int64(len(disk)))]) {
			list = append(list, ci)
		}
	}
	return list
}

func allZero(p []byte) bool { return bytes.Count(p, []byte{0}) == len(p) }

// fakeTarget is a file in memory.
type fakeTarget struct {
	onWrite func(ctx context.Context, off int64) error // optional, before a write

	mu    sync.Mutex
	bytes []byte
}

func (f *fakeTarget) WriteAt(p []byte, off int64) (int, error) {
	if f.onWrite != nil {
		if err := f.onWrite(context.Background(), off); err != nil {
			return 0, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := int(off) + len(p); end > len(f.bytes) {
		f.bytes = append(f.bytes, make([]byte, end-len(f.bytes))...)
	}
	return copy(f.bytes[off:], p), nil
}

func (f *fakeTarget) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.bytes = append(f.bytes, make([]byte, max(0, int(size)-len(f.bytes)))...)[:size]
	return nil
}
