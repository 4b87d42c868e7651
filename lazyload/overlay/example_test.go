package overlay_test

import (
	"context"
	"fmt"
	"os"

	"github.com/imsfs/imsfs/lazyload/overlay"
)

// A write goes to the delta, and is durable after Flush. Everything else is read from the base;
// here there is none, so it is zeros.
func ExampleDisk_WriteAt() {
	if err := writeAndReopen(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// "\x00hello\x00"
	// 4096 bytes are in the delta
}

func writeAndReopen() error {
	path, err := os.MkdirTemp("", "overlay")
	if err != nil {
		return err
	}
	defer os.RemoveAll(path)
	dir, err := overlay.OpenDir(path)
	if err != nil {
		return err
	}
	if err := dir.Create(1, 1<<20, 0); err != nil {
		return err
	}
	disk, err := open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := disk.WriteAt(ctx, []byte("hello"), 10_001); err != nil {
		return err
	}
	if err := disk.Flush(); err != nil {
		return err
	}
	if err := disk.Close(); err != nil {
		return err
	}

	if disk, err = open(dir); err != nil {
		return err
	}
	defer disk.Close()
	p := make([]byte, 7)
	if _, err := disk.ReadAt(ctx, p, 10_000); err != nil {
		return err
	}
	fmt.Printf("%q\n%d bytes are in the delta\n", p, disk.Allocated())
	return nil
}

// open opens the stack of one delta, number 1, over nothing.
func open(dir overlay.Dir) (*overlay.Disk, error) {
	files, err := dir.Open(1)
	if err != nil {
		return nil, err
	}
	return overlay.Open([]overlay.Files{files}, nil, false)
}
