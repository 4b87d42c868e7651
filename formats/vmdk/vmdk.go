// Package vmdk reads, checks and writes VMDK, VMware's disk format: a descriptor, which is a short text, and extents, which have
// the bytes. A sparse extent has grains (clusters) behind a grain directory and grain tables; in a stream-optimized one they are
// compressed and the directory is at the end. Descriptor and extent are one file, or the descriptor names others, which
// formats.Files opens. docs/formats/vmdk.md describes every byte; the names here are the format's own.
//
// layout.go holds the structures as bytes, verify.go what a header must say, descriptor.go and extentline.go the text. On these
// stand directory.go, sparse.go, grain.go and flat.go (the kinds of extent), open.go and image.go (the disk they make up), the
// check*.go and the writers, create.go and the files beside it.
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

// Name is the formats.Driver method.
func (d *Driver) Name() string { return name }
