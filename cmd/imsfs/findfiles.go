package main

import (
	"bufio"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/inspect/tree"
)

// findOptions are the conditions of find, all of which must hold.
type findOptions struct {
	name, kind, size, newer string
	null                    bool
}

func newFind(env *environment) *cobra.Command {
	var find findOptions
	cmd := insideCommand(env, &cobra.Command{
		Use:   "find IMAGE[:SLICE]:/PATH",
		Short: "Find files inside an image",
		Long: `Print the paths below a directory inside an image, those of files for which all conditions hold. Paths are escaped as by
ls -b unless --print0 is given.`,
		Example: "  imsfs find disk.qcow2:/ --name '*.conf' --type f\n  imsfs find web:/var --size +100MiB --newer 2026-01-01",
		Args:    exactly("IMAGE[:SLICE]:/PATH"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		return findFiles(ctx, env, opts, find, args[0])
	})
	flags := cmd.Flags()
	flags.StringVar(&find.name, "name", "", "the name matches this pattern of *, ? and [ ]")
	flags.StringVar(&find.kind, "type", "", "the file is of this type: f, d, l, b, c, p or s")
	flags.StringVar(&find.size, "size", "", "the size in bytes is N, more (+N) or less (-N); N may have a suffix: 10MiB")
	flags.StringVar(&find.newer, "newer", "", "the file was modified after this date, YYYY-MM-DD or RFC 3339")
	flags.BoolVar(&find.null, "print0", false, "end each path with a NUL, and escape nothing")
	return cmd
}

// condition reports whether a file is meant.
type condition func(f tree.File) bool

func (o findOptions) conditions() ([]condition, error) {
	var list []condition
	if o.name != "" {
		if _, err := path.Match(o.name, ""); err != nil {
			return nil, fmt.Errorf("--name %s: %w", o.name, err)
		}
		list = append(list, func(f tree.File) bool {
			ok, err := path.Match(o.name, string(f.Name))
			return ok && err == nil
		})
	}
	if o.kind != "" {
		kinds := map[string]uint32{"f": tree.TypeFile, "d": tree.TypeDir, "l": tree.TypeLink, "b": tree.TypeBlock,
			"c": tree.TypeChar, "p": tree.TypeFifo, "s": tree.TypeSocket}
		kind, ok := kinds[o.kind]
		if !ok {
			return nil, fmt.Errorf("--type %s: known are f, d, l, b, c, p and s", o.kind)
		}
		list = append(list, func(f tree.File) bool { return f.Attr.Type() == kind })
	}
	if o.size != "" {
		bySize, err := sizeCondition(o.size)
		if err != nil {
			return nil, err
		}
		list = append(list, bySize)
	}
	if o.newer != "" {
		at, err := time.Parse(time.DateOnly, o.newer)
		if err != nil {
			if at, err = time.Parse(time.RFC3339, o.newer); err != nil {
				return nil, fmt.Errorf("--newer %s: is neither YYYY-MM-DD nor RFC 3339", o.newer)
			}
		}
		list = append(list, func(f tree.File) bool { return f.Attr.Mtime.Known && f.Attr.Mtime.Sec > at.Unix() })
	}
	return list, nil
}

func sizeCondition(text string) (condition, error) {
	number := strings.TrimLeft(text, "+-")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		parsed, err := humanize.ParseBytes(number)
		if err != nil || parsed > 1<<62 {
			return nil, fmt.Errorf("--size %s: is not a number of bytes", text)
		}
		n = int64(parsed)
	}
	switch text[0] {
	case '+':
		return func(f tree.File) bool { return f.Attr.Size > n }, nil
	case '-':
		return func(f tree.File) bool { return f.Attr.Size < n }, nil
	}
	return func(f tree.File) bool { return f.Attr.Size == n }, nil
}

func findFiles(ctx context.Context, env *environment, opts insideOptions, find findOptions, arg string) error {
	conditions, err := find.conditions()
	if err != nil {
		return &usageError{"imsfs find", err}
	}
	s, err := openSpot(ctx, env, opts, arg, true)
	if err != nil {
		return err
	}
	defer s.Close()
	out := bufio.NewWriter(env.stdout)
	err = s.walk(ctx, env, func(f tree.File) error {
		for _, holds := range conditions {
			if !holds(f) {
				return nil
			}
		}
		name := s.prefix() + string(f.Path)
		if find.null {
			_, err := out.WriteString(name + "\x00")
			return err
		}
		_, err := fmt.Fprintln(out, escape(name))
		return err
	})
	return errOr(err, out.Flush())
}

func newDu(env *environment) *cobra.Command {
	return insideCommand(env, &cobra.Command{
		Use:     "du IMAGE[:SLICE]:/PATH",
		Short:   "Sum up the space of files inside an image",
		Long:    "Print the bytes that the files below each entry of a directory occupy, and their sum. A file of several names counts once.",
		Example: "  imsfs du disk.qcow2:/var",
		Args:    exactly("IMAGE[:SLICE]:/PATH"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		s, err := openSpot(ctx, env, opts, args[0], true)
		if err != nil {
			return err
		}
		defer s.Close()
		return sumUp(ctx, env, s)
	})
}

func sumUp(ctx context.Context, env *environment, s *spot) error {
	sums := map[string]int64{}
	var order []string
	seen := map[tree.ID]bool{}
	total := int64(0)
	walkErr := s.walk(ctx, env, func(f tree.File) error {
		if f.Attr.Links > 1 && !f.Attr.IsDir() {
			if seen[f.Attr.ID] {
				return nil
			}
			seen[f.Attr.ID] = true
		}
		total += f.Attr.Allocated
		entry, _, _ := strings.Cut(string(f.Path), "/")
		if entry == "" {
			return nil
		}
		if _, known := sums[entry]; !known {
			order = append(order, entry)
		}
		sums[entry] += f.Attr.Allocated
		return nil
	})
	for _, entry := range order {
		fmt.Fprintf(env.stdout, "%d\t%s\n", sums[entry], escape(s.prefix()+entry))
	}
	fmt.Fprintf(env.stdout, "%d\t%s\n", total, escape(s.path))
	return walkErr
}
