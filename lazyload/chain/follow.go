package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lazyload/source"
)

// follow opens the backing image of the last layer, and makes it the last.
func (c *Chain) follow(ctx context.Context, cfg Config) error {
	upper, b := c.sources[len(c.sources)-1], *c.last().Info().Backing
	first := len(c.layers) == 1
	if len(c.layers) > MaxDepth {
		return source.Refuse("backing file %s of %s: an image has at most %d backing images", quote(b.Paths), upper.at, MaxDepth)
	}
	src, err := c.openBacking(ctx, cfg, upper, b.Paths)
	if err != nil {
		return fmt.Errorf("backing file %w", err)
	}
	c.sources = append(c.sources, src)
	if first && cfg.BackingFormat != "" {
		b.Format = cfg.BackingFormat
	}
	img, err := c.openImage(ctx, cfg.Formats, src, b)
	if err != nil {
		return fmt.Errorf("backing file %s: %w", src.at, err)
	}
	c.layers = append(c.layers, img)
	return nil
}

// replaceBacking refuses a backing file from the operator that has nothing to take the place of.
func (c *Chain) replaceBacking(cfg Config) error {
	if c.layers[0].Info().Backing == nil && (cfg.Backing != "" || cfg.BackingFormat != "") {
		return errors.New("a backing file or its format is given, and the image has none")
	}
	return nil
}

// openBacking opens the first of the files that may be followed and is there. Its error, which begins with a name, is that
// of the first name.
func (c *Chain) openBacking(ctx context.Context, cfg Config, upper *Source, names []string) (*Source, error) {
	if len(c.layers) == 1 && cfg.Backing != "" {
		src, err := OpenSource(ctx, cfg.Backing, cfg.Sources)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", cfg.Backing, err)
		}
		return src, nil
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("without a name in %s: name one", upper.at)
	}
	var failed error
	for _, name := range names {
		src, err := upper.openBacking(ctx, name)
		if err == nil {
			return src, nil
		}
		if failed == nil {
			failed = fmt.Errorf("%q of %s: %w", name, upper.at, err)
		}
	}
	return nil, failed
}

// openImage opens the image in a backing file, if it is the one that it was when the upper image was made.
func (c *Chain) openImage(ctx context.Context, set formats.Set, src *Source, b formats.Backing) (formats.Image, error) {
	for depth, other := range c.sources[:len(c.sources)-1] {
		if source.Same(src.Object, other.Object) {
			return nil, source.Refuse("it is layer %d already: the chain is a ring", depth)
		}
	}
	format, err := backingFormat(ctx, set, src, b.Format)
	if err != nil {
		return nil, err
	}
	img, err := set.Open(ctx, src, format, formats.OpenOptions{Files: src})
	if err != nil {
		return nil, err
	}
	if id := img.Info().ID; id != "" && b.ID != "" && !strings.EqualFold(id, b.ID) {
		return nil, fmt.Errorf("%w: it is %s, and the image was made on %s", source.ErrChanged, id, b.ID)
	}
	return img, nil
}

// backingFormat is the name of the driver. An image that nobody claims may be a raw disk, whose bytes are its guest's: that
// guest could make it an image of any format, with names of its own choosing in it. So raw is never a guess.
func backingFormat(ctx context.Context, set formats.Set, src formats.Source, name string) (string, error) {
	if name == "vpc" {
		name = "vhd" // as QEMU calls it in the images that it writes
	}
	if name != "" {
		if _, err := set.Named(name); err != nil {
			return "", err
		}
		return name, nil
	}
	driver, err := set.Probe(ctx, src)
	if err != nil {
		return "", err
	}
	if set.Fallback != nil && driver.Name() == set.Fallback.Name() {
		return "", source.Refuse("its content is of no known format, and the image does not name one: if it is a %s disk, say so (backing format %s)", driver.Name(), driver.Name())
	}
	return driver.Name(), nil
}

func quote(names []string) string {
	if len(names) == 0 {
		return "without a name"
	}
	return fmt.Sprintf("%q", names[0])
}
