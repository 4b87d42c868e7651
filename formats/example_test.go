package formats_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/all"
	"github.com/imsfs/imsfs/formats/formattest"
)

// Open finds the format by content, and reads the disk of an image. A content that no driver claims
// is a raw disk.
func ExampleSet_Open() {
	ctx := context.Background()
	src := formattest.Bytes("hello, disk" + string(make([]byte, 1013)))

	img, err := all.Formats().Open(ctx, src, "", formats.OpenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	info := img.Info()
	fmt.Println(info.Format, info.Size)

	p := make([]byte, 11)
	if err := img.ReadAt(ctx, p, 0); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", p)
	// Output:
	// raw 1024
	// hello, disk
}

// A content of another known kind is refused by name, because as a raw disk it would be garbage.
func ExampleSet_Probe_foreign() {
	src := formattest.Bytes("\x1f\x8b\x08 the beginning of a gzip")
	_, err := all.Formats().Probe(context.Background(), src)
	fmt.Println(errors.Is(err, errors.ErrUnsupported))
	// Output:
	// true
}
