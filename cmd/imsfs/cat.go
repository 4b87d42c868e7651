package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/tree"
)

func newCat(env *environment) *cobra.Command {
	return insideCommand(env, &cobra.Command{
		Use:     "cat IMAGE[:SLICE]:/PATH",
		Short:   "Print a file inside an image",
		Long:    "Print the bytes of a file inside an image. Links are followed inside the image only. (virt-cat)",
		Example: "  imsfs cat disk.qcow2:/etc/os-release",
		Args:    exactly("IMAGE[:SLICE]:/PATH"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		s, err := openSpot(ctx, env, opts, args[0], true)
		if err != nil {
			return err
		}
		defer s.Close()
		return s.copyTo(ctx, env.stdout)
	})
}

const copyBuffer = 1 << 20

// copyTo writes all bytes of a regular file, zeros for its holes.
func (s *spot) copyTo(ctx context.Context, out io.Writer) error {
	return inside(copyFile(ctx, s.tree, s.attr, func(p []byte, _ int64) error {
		_, err := out.Write(p)
		return err
	}, func(n int64) error {
		return writeZeros(ctx, out, n)
	}))
}

func writeZeros(ctx context.Context, out io.Writer, n int64) error {
	zeros := make([]byte, min(n, 64<<10))
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := zeros[:min(n, int64(len(zeros)))]
		if _, err := out.Write(p); err != nil {
			return err
		}
		n -= int64(len(p))
	}
	return nil
}

// copyFile calls data for the bytes of a file and hole for the length of each hole, in order.
func copyFile(ctx context.Context, t tree.Tree, a tree.Attr, data func(p []byte, off int64) error, hole func(n int64) error) error {
	if a.IsDir() {
		return tree.ErrIsDir
	}
	if a.Type() != tree.TypeFile {
		return tree.ErrNotFile
	}
	buf := make([]byte, min(copyBuffer, max(a.Size, 1)))
	for off := int64(0); off < a.Size; {
		e, err := tree.Extent(ctx, t, a.ID, off, a.Size-off)
		if err != nil {
			return err
		}
		if e.State != formats.Data {
			if err := hole(e.Len); err != nil {
				return err
			}
			off = e.End()
			continue
		}
		for off < e.End() {
			p := buf[:min(int64(len(buf)), e.End()-off)]
			n, err := t.ReadAt(ctx, a.ID, p, off)
			if n < len(p) {
				return errOr(err, io.ErrUnexpectedEOF)
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			if err := data(p, off); err != nil {
				return err
			}
			off += int64(n)
		}
	}
	return nil
}

// writeLine prints a value as one line of JSON.
func writeLine(out *bufio.Writer, v any) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func newHash(env *environment) *cobra.Command {
	var algorithm string
	cmd := insideCommand(env, &cobra.Command{
		Use:     "hash IMAGE[:SLICE]:/PATH",
		Short:   "Print checksums of files inside an image",
		Long:    "Print the checksum of a file, or of all regular files below a directory, in the form of sha256sum.",
		Example: "  imsfs hash disk.qcow2:/usr/bin",
		Args:    exactly("IMAGE[:SLICE]:/PATH"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		return hashFiles(ctx, env, opts, algorithm, args[0])
	})
	cmd.Flags().StringVar(&algorithm, "algorithm", "sha256", "sha256, sha512, sha1 or md5")
	return cmd
}

func hashFiles(ctx context.Context, env *environment, opts insideOptions, algorithm, arg string) error {
	sum, err := newSum(algorithm)
	if err != nil {
		return &usageError{"imsfs hash", err}
	}
	s, err := openSpot(ctx, env, opts, arg, true)
	if err != nil {
		return err
	}
	defer s.Close()
	out := bufio.NewWriter(env.stdout)
	err = s.walk(ctx, env, func(f tree.File) error {
		if f.Attr.Type() != tree.TypeFile {
			return nil
		}
		h := sum()
		err := copyFile(ctx, s.tree, f.Attr, func(p []byte, _ int64) error {
			h.Write(p)
			return nil
		}, func(n int64) error { return writeZeros(ctx, h, n) })
		if err != nil {
			return fmt.Errorf("%q: %w", f.Path, err)
		}
		name, mark := escape(slices.Concat([]byte(s.prefix()), f.Path)), ""
		if name != s.prefix()+string(f.Path) {
			mark = `\`
		}
		_, err = fmt.Fprintf(out, "%s%x  %s\n", mark, h.Sum(nil), name)
		return err
	})
	return errOr(err, out.Flush())
}

// prefix is the path of the spot before the paths of its walk.
func (s *spot) prefix() string {
	if !s.attr.IsDir() {
		return s.path
	}
	if s.path[len(s.path)-1] == '/' {
		return s.path
	}
	return s.path + "/"
}
