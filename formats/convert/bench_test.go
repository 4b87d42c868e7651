package convert_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/imsfs/imsfs/formats/convert"
)

// busyEncoder works as hard as a compressor on every cluster.
type busyEncoder struct{ fakeEncoder }

func (e *busyEncoder) Encode(dst, plain []byte, ci int64) ([]byte, error) {
	sum := sha256.Sum256(plain)
	return append(dst, sum[:]...), nil
}

// BenchmarkRun tells how encoding scales with the workers, with nothing else in the way.
func BenchmarkRun(b *testing.B) {
	const size = 256 * mib
	img := fullImage(size)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				enc := &busyEncoder{fakeEncoder{cluster: 2 * mib}}
				if err := convert.Run(context.Background(), img, enc, discard{}, convert.Config{Workers: workers}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCompare is bound by memory.
func BenchmarkCompare(b *testing.B) {
	const size = 256 * mib
	x, y := fullImage(size), fullImage(size)
	if !bytes.Equal(x.bytes, y.bytes) {
		b.Fatal("the disks differ")
	}
	b.SetBytes(size)
	for b.Loop() {
		if off, err := convert.Compare(context.Background(), x, y, convert.Config{}); err != nil || off >= 0 {
			b.Fatal(off, err)
		}
	}
}
