package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/term"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/lifecycle/output"
)

// standardStream as SRC or DST is standard input or output.
const standardStream = "-"

// openSource opens SRC.
func openSource(ctx context.Context, env *environment, opts convertOptions, src, dst string) (*imageFile, error) {
	if src != standardStream {
		return openImage(ctx, env, src, opts.from, opts.allow)
	}
	dir := os.TempDir()
	if !isStandardOutput(dst) && env.getenv("TMPDIR") == "" {
		dir = filepath.Dir(dst)
	}
	spool, err := spoolFile(dir)
	if err != nil {
		return nil, fmt.Errorf("keeping standard input in %s: %w", dir, err)
	}
	defer spool.Close() // the image has it open by then
	if err := keepStream(ctx, spool, env.stdin); err != nil {
		return nil, explainFull(fmt.Errorf("keeping standard input in %s: %w", dir, err))
	}
	img, err := openImage(ctx, env, output.DescriptorPath(spool), opts.from, opts.allow)
	if err != nil {
		return nil, fmt.Errorf("standard input, kept as %w", err)
	}
	img.path = standardStream
	return img, nil
}

// spoolFile makes a file without a name, which is gone once it is closed.
func spoolFile(dir string) (*os.File, error) {
	if f, err := output.Unnamed(dir); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, ".imsfs-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// keepStream writes all of r to f, blocks of zeros as holes. When ctx ends, it does not wait for a
// pending read.
func keepStream(ctx context.Context, f *os.File, r io.Reader) error {
	end := make(chan error, 1)
	go func() { end <- keep(contextReader{ctx, r}, f) }()
	select {
	case err := <-end:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func keep(r io.Reader, f *os.File) error {
	const block = 64 << 10
	p := make([]byte, block)
	for off := int64(0); ; {
		n, err := io.ReadFull(r, p)
		if !formats.IsZero(p[:n]) {
			if _, err := f.WriteAt(p[:n], off); err != nil {
				return err
			}
		}
		off += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return f.Truncate(off)
		case err != nil:
			return err
		}
	}
}

// isStandardOutput reports whether DST is a name of standard output. A file cannot take the place
// of the others.
func isStandardOutput(dst string) bool {
	return slices.Contains([]string{standardStream, "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"}, dst)
}

// convertToStream writes the disk's bytes to standard output.
func convertToStream(ctx context.Context, env *environment, opts convertOptions, img *imageFile) error {
	if out, _ := env.stdout.(*os.File); out != nil && term.IsTerminal(int(out.Fd())) {
		return errors.New("-: standard output is a terminal: redirect it to a file or another program")
	}
	sum, err := streamTo(ctx, env, opts, img, standardStream, env.stdout)
	if err != nil {
		return err
	}
	if opts.sha256 {
		fmt.Fprintf(env.stderr, "%x  -\n", sum)
	}
	return nil
}

// streamTo writes the disk's bytes to w, which errors call dst, and returns their digest if opts
// have it.
func streamTo(ctx context.Context, env *environment, opts convertOptions, img *imageFile, dst string, w io.Writer) (digest []byte, err error) {
	switch {
	case opts.to != "raw":
		return nil, fmt.Errorf("%s: %s cannot be written there, as its header and tables are only known at the end: use -O raw", dst, opts.to)
	case len(opts.choices) > 0 || opts.level != 0:
		return nil, fmt.Errorf("%s: raw bytes leave nothing to choose by -o or --level", dst)
	}
	if err := warnOfSectors(env, opts.to, img); err != nil {
		return nil, err
	}
	cfg, end := opts.config(env)
	defer end()
	sum := sha256.New()
	if opts.sha256 {
		w = io.MultiWriter(w, sum)
	}
	if err := convert.Stream(ctx, img, w, cfg); err != nil {
		return nil, fmt.Errorf("%s: converting to %s: %w", img.path, dst, err)
	}
	return sum.Sum(nil), nil
}

// fileDigest returns the SHA-256 of a file. It ends with ctx.
func fileDigest(ctx context.Context, f *os.File) ([]byte, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	sum := sha256.New()
	_, err := io.CopyBuffer(sum, contextReader{ctx, f}, make([]byte, 1<<20))
	return sum.Sum(nil), err
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
