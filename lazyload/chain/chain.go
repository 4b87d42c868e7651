// Package chain opens an image with all that it is based on: the backing image that has the bytes it has not, the one that
// has those, and so on. Seen from outside a Chain is one image; its layers are numbered from 0, the image itself.
//
// An image is hostile input, and so are the names in it. source.ParseName and the kinds of sources
// have the rules by which a name is followed; they hold for backing images and for the files an
// image consists of (formats.Files).
//
//	source.go  an image's file, and the files beside it
//	follow.go  from an image to its backing image
//	read.go    the layers as one disk
//	rawmap.go  the map beside a raw image
package chain

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source"
)

// MaxDepth is how many backing images there may be below an image.
const MaxDepth = 16

// Config says how a chain is opened. Formats and Sources must be set; for the rest the zero value is
// usable.
type Config struct {
	Formats  formats.Set
	Sources  source.Opener
	Format   string // the image's; "" tells it by its content
	Snapshot string // the image's internal snapshot to read instead of its active state
	// Alone opens the image without its backing image: what that has reads as zeros.
	Alone bool
	// Backing is the location of the backing image, in place of the name in the image. It may be
	// anywhere.
	Backing string
	// BackingFormat is that image's format, in place of the one that the image says.
	BackingFormat string
	// Maps uses the map beside a raw image (formats/rawmap), and believes it.
	Maps bool
}

// Chain is an image and all that it is based on, open. It is safe for concurrent use.
type Chain struct {
	layers  []formats.Image
	sources []*Source // of the layers
	below   []int64   // for each layer the largest compressed cluster of those below it, 0 if they have none
}

var _ formats.Image = (*Chain)(nil)

// Open opens the image at a location and what it is based on.
func Open(ctx context.Context, location string, cfg Config) (*Chain, error) {
	c := &Chain{}
	if err := c.open(ctx, location, cfg); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Chain) open(ctx context.Context, location string, cfg Config) error {
	top, err := OpenSource(ctx, location, cfg.Sources)
	if err != nil {
		return err
	}
	c.sources = append(c.sources, top)
	driver, err := cfg.Formats.FindFile(ctx, top, cfg.Format, top.at.Base())
	if err != nil {
		return fmt.Errorf("%s: %w", top.at, err)
	}
	if cfg.Maps && driver.Name() == rawFormat {
		top.findMap(ctx, cfg.Sources)
	}
	img, err := cfg.Formats.Open(ctx, top, driver.Name(), formats.OpenOptions{Snapshot: cfg.Snapshot, Files: top})
	if err != nil {
		return fmt.Errorf("%s: %w", top.at, err)
	}
	c.layers = append(c.layers, img)
	if cfg.Alone {
		return nil
	}
	if err := c.replaceBacking(cfg); err != nil {
		return fmt.Errorf("%s: %w", top.at, err)
	}
	for c.last().Info().Backing != nil {
		if err := c.follow(ctx, cfg); err != nil {
			return fmt.Errorf("%s: layer %d, %w", top.at, len(c.layers), err)
		}
	}
	c.below = largestBelow(c.layers)
	return nil
}

func (c *Chain) last() formats.Image { return c.layers[len(c.layers)-1] }

// Layers are the images of the chain: 0 is the image itself, 1 its backing image. They are the chain's to close.
func (c *Chain) Layers() []formats.Image { return slices.Clone(c.layers) }

// Sources are the layers' files.
func (c *Chain) Sources() []*Source { return slices.Clone(c.sources) }

// Files lists all files that the chain is read from, the image's own in front. They must stand unchanged for the disk to be
// the same.
func (c *Chain) Files() []File {
	var list []File
	for _, s := range c.sources {
		list = append(list, s.Files()...)
	}
	return list
}

// Info is the image's, but for what all layers decide: the unit of decoding, and what only a walk through them could tell.
func (c *Chain) Info() formats.Info {
	info := c.layers[0].Info()
	if len(c.layers) == 1 {
		return info
	}
	info.Allocated = formats.Unknown
	for _, layer := range c.layers[1:] {
		below := layer.Info()
		if below.Compression == "" {
			continue
		}
		if info.Compression == "" {
			info.Compression = below.Compression
		}
		info.ClusterSize = max(info.ClusterSize, below.ClusterSize)
	}
	return info
}

// Close closes every file; no read may be running.
func (c *Chain) Close() error {
	var err error
	for _, s := range slices.Backward(c.sources) {
		err = errors.Join(err, s.Close())
	}
	return err
}
