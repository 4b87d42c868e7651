package main

import (
	"context"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

type infoOptions struct {
	format string
	json   bool
}

func newInfo(env *environment) *cobra.Command {
	var opts infoOptions
	cmd := &cobra.Command{
		Use:   "info FILE",
		Short: "Tell what an image file is",
		Long: `Tell format, sizes and the format's own facts of an image file.

disk size is the space the file takes, data the part of the disk that is stored in it.`,
		Example: "  imsfs info disk.zvhd2\n  imsfs info --json disk.zvhd2 | jq '.\"virtual-size\"'",
		Args:    exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return info(cmd.Context(), env, opts, args[0])
		},
	}
	formatFlag(env, cmd, &opts.format, "format", "f", "take FILE for this format instead of looking at its content")
	cmd.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	return cmd
}

// infoReport is the JSON form: the keys of qemu-img info, where it has them.
type infoReport struct {
	Filename    string         `json:"filename"`
	Format      string         `json:"format"`
	VirtualSize int64          `json:"virtual-size"`
	ActualSize  int64          `json:"actual-size"`
	DataSize    int64          `json:"data-size"`
	ClusterSize int64          `json:"cluster-size"`
	Compression string         `json:"compression,omitempty"`
	Specific    *formatDetails `json:"format-specific,omitempty"`
}

type formatDetails struct {
	Type string            `json:"type"`
	Data map[string]string `json:"data"`
}

func info(ctx context.Context, env *environment, opts infoOptions, path string) error {
	img, err := openImage(ctx, env, path, opts.format)
	if err != nil {
		return err
	}
	defer img.Close()
	if opts.json {
		return env.writeJSON(img.report())
	}
	return img.describe(env)
}

func (f *imageFile) report() infoReport {
	i := f.Info()
	r := infoReport{
		Filename:    f.path,
		Format:      i.Format,
		VirtualSize: i.Size,
		ActualSize:  f.src.Allocated(),
		DataSize:    i.Allocated,
		ClusterSize: i.ClusterSize,
		Compression: i.Compression,
	}
	if len(i.Details) > 0 {
		r.Specific = &formatDetails{Type: i.Format, Data: map[string]string{}}
		for _, d := range i.Details {
			r.Specific.Data[d.Key] = d.Value
		}
	}
	return r
}

// describe prints for people, as qemu-img info does.
func (f *imageFile) describe(env *environment) error {
	i := f.Info()
	fmt.Fprintf(env.stdout, "image: %s\nfile format: %s\n", f.path, i.Format)
	fmt.Fprintf(env.stdout, "virtual size: %s\n", size(i.Size))
	fmt.Fprintf(env.stdout, "disk size: %s\n", size(f.src.Allocated()))
	fmt.Fprintf(env.stdout, "data: %s\n", size(i.Allocated))
	fmt.Fprintf(env.stdout, "cluster size: %s\n", size(i.ClusterSize))
	if i.Compression != "" {
		fmt.Fprintf(env.stdout, "compression: %s\n", i.Compression)
	}
	if len(i.Details) > 0 {
		fmt.Fprintln(env.stdout, "format specific information:")
	}
	for _, d := range i.Details {
		fmt.Fprintf(env.stdout, "    %s: %s\n", d.Key, d.Value)
	}
	return nil
}

// size is for people, with the exact bytes for those who need them.
func size(n int64) string {
	return fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(n)), n)
}
