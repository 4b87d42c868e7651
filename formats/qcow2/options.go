package qcow2

import (
	"fmt"
	"math/bits"

	"github.com/imsfs/imsfs/formats"
)

// Keys of CreateOptions.Set.
const (
	keyClusterSize     = "cluster_size"
	keyCompressionType = "compression_type"
)

const defaultClusterBits = 16

func (*Driver) Options() []formats.Option {
	return []formats.Option{
		{Key: keyClusterSize, Help: "bytes of a cluster, a power of two from 512 to 2M; 64k if not given"},
		{Key: keyCompressionType, Help: "none, deflate (zlib is the same) or zstd; none if not given"},
	}
}

// choices are the options in CreateOptions.Set.
type choices struct {
	clusterBits uint32
	compress    bool
	compression uint8 // of compressed clusters
}

func parseOptions(opts formats.CreateOptions) (choices, error) {
	c := choices{clusterBits: defaultClusterBits}
	if size, ok := opts.Set[keyClusterSize]; ok {
		n, ok := formats.ParseSize(size)
		if !ok || n < 1<<minClusterBits || n > 1<<maxClusterBits || bits.OnesCount64(uint64(n)) != 1 {
			return c, fmt.Errorf("qcow2: %s=%s: it must be a power of two from 512 to 2M", keyClusterSize, size)
		}
		c.clusterBits = uint32(bits.TrailingZeros64(uint64(n)))
	}
	switch kind := opts.Set[keyCompressionType]; kind {
	case "", "none":
		if opts.Level != 0 {
			return c, fmt.Errorf("qcow2: compression level %d: clusters are not compressed unless %s is zstd", opts.Level, keyCompressionType)
		}
	case "deflate", "zlib":
		if opts.Level != 0 {
			return c, fmt.Errorf("qcow2: compression level %d: deflate has one level only; zstd has several", opts.Level)
		}
		c.compress, c.compression = true, compressionZlib
	case "zstd":
		c.compress, c.compression = true, compressionZstd
	default:
		return c, fmt.Errorf("qcow2: %s=%s: it must be none, deflate or zstd", keyCompressionType, kind)
	}
	return c, nil
}
