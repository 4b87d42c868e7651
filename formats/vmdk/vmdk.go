// Package vmdk reads, checks and writes VMDK, VMware's disk format: a descriptor, which is a short
// text, and extents, which have the bytes. A sparse extent has grains (clusters), found by a grain
// directory and grain tables; in a stream-optimized one they are compressed and the directory is at
// the end. Descriptor and extent are one file, or the descriptor names others, which formats.Files
// opens. docs/formats/vmdk.md describes every byte; the names here are the format's own.
//
// kind.go recognises files, layout.go decodes the structures, verify.go has the rules for a header,
// descriptor.go, extentline.go and encoding.go read the text. directory.go, sparse.go and grain.go,
// cowd.go, sesparse.go and flat.go are the kinds of extent, open.go and image.go the disk that they
// make up. The check*.go check, the create*.go write.
package vmdk

import (
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

const name = "vmdk"

// Driver is the formats.Driver of VMDK.
type Driver struct {
	zlib    *codec.Zlib
	buffers codec.Buffers // for stored and decoded grains, for all images
}

var (
	_ formats.Driver  = (*Driver)(nil)
	_ formats.Checker = (*Driver)(nil)
)

// New makes a driver.
func New() *Driver { return &Driver{zlib: codec.NewZlib()} }

func (d *Driver) Name() string { return name }
