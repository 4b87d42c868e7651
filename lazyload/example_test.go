package lazyload_test

import (
	"context"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/all"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/lazyload"
)

// An image becomes a disk. A read past the disk's end returns fewer bytes and io.EOF.
func ExampleDisk_ReadAt() {
	ctx := context.Background()
	src := formattest.Bytes("hello, disk" + string(make([]byte, 1013)))
	img, err := all.Formats().Open(ctx, src, "raw", formats.OpenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	loader := lazyload.New(lazyload.Config{CacheSize: 1 << 20})
	defer loader.Close()
	disk := loader.Open(img)
	defer disk.Close()

	p := make([]byte, 11)
	n, err := disk.ReadAt(ctx, p, 0)
	fmt.Printf("%q %v\n", p[:n], err)

	n, err = disk.ReadAt(ctx, p, disk.Size()-4)
	fmt.Println(n, err == io.EOF)
	// Output:
	// "hello, disk" <nil>
	// 4 true
}

// A view shares memory with other readers: its slices must not be used after Release.
func ExampleDisk_View() {
	ctx := context.Background()
	src := formattest.Bytes("hello, disk" + string(make([]byte, 1013)))
	img, err := all.Formats().Open(ctx, src, "raw", formats.OpenOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	loader := lazyload.New(lazyload.Config{})
	defer loader.Close()
	disk := loader.Open(img)
	defer disk.Close()

	view, err := disk.View(ctx, make([]byte, 11), 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range view.Slices {
		fmt.Printf("%s", s)
	}
	view.Release()
	// Output:
	// hello, disk
}
