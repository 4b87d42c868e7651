package system

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/imsfs/imsfs/inspect/disk"
)

// newZstd returns the plain bytes of a zstd stream, decoded on this goroutine with bounded memory.
func newZstd(p []byte) (io.Reader, error) {
	z, err := zstd.NewReader(bytes.NewReader(p), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
	if err != nil {
		return nil, disk.Corrupt("initramfs", "zstd header", "%v", err)
	}
	return z, nil
}
