package blockstore_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/imsfs/imsfs/blockstore"
)

// plain is a disk in memory.
type plain []byte

func (p plain) Size() int64 { return int64(len(p)) }

func (p plain) ReadAt(_ context.Context, b []byte, off int64) error {
	copy(b, p[off:])
	return nil
}

// Hole returns 0, because this disk knows no holes.
func (plain) Hole(context.Context, int64, int64) (int64, error) { return 0, nil }

// The digest depends on the disk's size and bytes only, so a longer disk has another digest even if
// only zeros follow.
func ExampleDigestPlain() {
	for _, size := range []int{1 << 20, 2 << 20} {
		disk := make(plain, size)
		copy(disk, "hello, disk")
		digest, err := blockstore.DigestPlain(context.Background(), disk, nil)
		fmt.Println(digest.String()[:16], err)
	}
	// Output:
	// aedb6e77a30db9a8 <nil>
	// 7f377c160ffe5711 <nil>
}

// A block is named by its bytes, so equal blocks of any disks are one.
func ExampleIDOf() {
	a := bytes.Repeat([]byte("disk"), blockstore.BlockSize/4)
	b := bytes.Clone(a)
	fmt.Println(blockstore.IDOf(a) == blockstore.IDOf(b))
	// Output:
	// true
}
