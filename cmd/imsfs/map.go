package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
)

type mapOptions struct {
	image imageOptions
	allow []string
	json  bool
}

func newMap(env *environment) *cobra.Command {
	opts := mapOptions{image: imageOptions{maps: true}}
	cmd := &cobra.Command{
		Use:   "map FILE",
		Short: "List the extents of a disk",
		Long: `List the extents of the disk in an image file: data is stored, zero reads as zeros, and unallocated is
in no image of the chain, so that it reads as zeros too. DEPTH is how many backing files down the
extent was found; 0 is FILE itself.

The JSON is that of qemu-img map, without the key offset.`,
		Example: "  imsfs map disk.zvhd2\n  imsfs map --json disk.zvhd2 | jq 'map(select(.data).length) | add'",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return mapExtents(cmd.Context(), env, opts, args[0])
		},
	}
	imageFlags(env, cmd, &opts.image, "FILE", "", "f")
	allowFlag(cmd, &opts.allow)
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

// mapEntry is the JSON form of an extent.
type mapEntry struct {
	Start      int64 `json:"start"`
	Length     int64 `json:"length"`
	Depth      int   `json:"depth"`
	Present    bool  `json:"present"`
	Zero       bool  `json:"zero"`
	Data       bool  `json:"data"`
	Compressed bool  `json:"compressed"`
}

func mapExtents(ctx context.Context, env *environment, opts mapOptions, path string) error {
	img, err := openImage(ctx, env, path, opts.image, opts.allow)
	if err != nil {
		return err
	}
	defer img.Close()
	out := bufio.NewWriter(env.stdout) // a map can have millions of lines: none is kept
	write := writeMapTable
	if opts.json {
		write = writeMapJSON
	}
	if err := write(ctx, out, img); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return out.Flush()
}

func writeMapTable(ctx context.Context, out io.Writer, img formats.Image) error {
	const line = "%-20s %-20s %-5v %s\n"
	fmt.Fprintf(out, line, "START", "LENGTH", "DEPTH", "STATE")
	for e, err := range formats.Extents(ctx, img, 0, img.Info().Size) {
		if err != nil {
			return err
		}
		state := e.State.String()
		if e.Compressed {
			state += " compressed"
		}
		fmt.Fprintf(out, line, fmt.Sprintf("%#x", e.Off), fmt.Sprintf("%#x", e.Len), e.Depth, state)
	}
	return nil
}

func writeMapJSON(ctx context.Context, out io.Writer, img formats.Image) error {
	fmt.Fprint(out, "[")
	before := ""
	for e, err := range formats.Extents(ctx, img, 0, img.Info().Size) {
		if err != nil {
			return err
		}
		line, err := json.Marshal(mapEntry{
			Start:      e.Off,
			Length:     e.Len,
			Depth:      e.Depth,
			Present:    e.State != formats.Unallocated,
			Zero:       e.State != formats.Data,
			Data:       e.State == formats.Data,
			Compressed: e.Compressed,
		})
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s%s", before, line)
		before = ",\n"
	}
	fmt.Fprintln(out, "]")
	return nil
}
