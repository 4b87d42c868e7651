package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/inspect"
)

func newInspect(env *environment) *cobra.Command {
	var asJSON bool
	cmd := insideCommand(env, &cobra.Command{
		Use:   "inspect IMAGE",
		Short: "Show partitions, file systems and operating systems",
		Long: `Show what is inside an image file, a registered image or a volume: partitions, file systems, operating systems, and how
they boot. Nothing is mounted, written or run. docs/inspect.md has the keys of --json. (virt-inspector)`,
		Example: "  imsfs inspect disk.qcow2\n  imsfs inspect web --json",
		Args:    exactly("IMAGE"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		return inspectImage(ctx, env, opts, args[0], asJSON)
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func inspectImage(ctx context.Context, env *environment, opts insideOptions, name string, asJSON bool) error {
	in, err := openInsides(ctx, env, opts, name)
	if err != nil {
		return err
	}
	defer in.Close()
	r, err := in.layout.Report(ctx, today(env))
	if err != nil {
		return inside(err)
	}
	r.Image.Name, r.Image.Format = name, in.format
	if asJSON {
		return env.writeJSON(r)
	}
	return describeReport(env.stdout, r)
}

func describeReport(out io.Writer, r *inspect.Report) error {
	fmt.Fprintf(out, "image: %s\nformat: %s\nsize: %s\n", escape(r.Image.Name), r.Image.Format, size(r.Image.Size))
	fmt.Fprintf(out, "partition table: %s\n", r.Table.Type)
	for _, note := range r.Table.Notes {
		fmt.Fprintf(out, "    note: %s\n", escape(note))
	}
	describeSlices(out, r.Slices)
	for _, s := range r.Systems {
		fmt.Fprintf(out, "operating system on %s: %s\n", s.Root, escape(orUnknown(s.Name)))
		fmt.Fprintf(out, "    id: %s %s\n", escape(orUnknown(s.ID)), escape(s.Version))
		fmt.Fprintf(out, "    architecture: %s\n", orUnknown(s.Arch))
		if s.Hostname != "" {
			fmt.Fprintf(out, "    hostname: %s\n", escape(s.Hostname))
		}
		for _, k := range s.Kernels {
			virtio := "unknown"
			if k.Virtio != nil {
				virtio = strings.Join(k.Virtio, " ")
			}
			fmt.Fprintf(out, "    kernel: %s (virtio: %s)\n", escape(k.Version), orNone(virtio))
		}
		if s.PackagesTotal != nil {
			fmt.Fprintf(out, "    packages: %d (%s)\n", *s.PackagesTotal, s.PackageFormat)
		}
		if s.EOS.Date != "" {
			fmt.Fprintf(out, "    support ends: %s\n", max(s.EOS.Date, s.EOS.Extended))
		}
		for _, m := range s.Mounts {
			fmt.Fprintf(out, "    mount: %s at %s%s\n", escape(m.Spec), escape(m.At), map[bool]string{false: " (not on this disk)"}[m.Found])
		}
		for _, note := range s.Notes {
			fmt.Fprintf(out, "    note: %s\n", escape(note))
		}
	}
	if len(r.Systems) == 0 {
		fmt.Fprintln(out, "operating system: none found")
	}
	_, err := fmt.Fprintf(out, "boots: %s\n", orNone(strings.Join(r.Boot.Modes, " ")))
	return err
}

func today(env *environment) string { return env.now().UTC().Format(time.DateOnly) }

func orUnknown(s string) string { return orElse(s, "unknown") }
func orNone(s string) string    { return orElse(s, "none") }

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func describeSlices(out io.Writer, list []inspect.SliceReport) {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SLICE\tSTART\tSIZE\tTYPE\tCONTENT\tLABEL\tUUID\tSTATE")
	for _, s := range list {
		kind, label, uuid, state := "-", "-", "-", "-"
		if c := s.Content; c != nil {
			kind, label, uuid, state = orElse(c.Type, "unknown"), orElse(c.Label, "-"), orElse(c.UUID, "-"), orElse(c.State, "-")
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", escape(s.ID), s.Off, humanize.IBytes(uint64(s.Size)),
			orElse(s.TypeName, orElse(s.Type, s.Kind)), kind, escape(label), escape(uuid), state)
	}
	table.Flush()
	for _, s := range list {
		notes := s.Notes
		if s.Content != nil {
			notes = append(notes, s.Content.Notes...)
		}
		for _, note := range notes {
			fmt.Fprintf(out, "    note on %s: %s\n", escape(s.ID), escape(note))
		}
	}
}

func newPartitions(env *environment) *cobra.Command {
	var asJSON bool
	cmd := insideCommand(env, &cobra.Command{
		Use:     "partitions IMAGE",
		Short:   "List partitions, volumes and their contents",
		Long:    "List the partitions and logical volumes of an image with their contents. Offsets are in bytes. (virt-filesystems)",
		Example: "  imsfs partitions disk.vmdk",
		Args:    exactly("IMAGE"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		in, err := openInsides(ctx, env, opts, args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		list, err := in.layout.SliceReports(ctx)
		if err != nil {
			return inside(err)
		}
		if asJSON {
			return env.writeJSON(list)
		}
		describeSlices(env.stdout, list)
		return nil
	})
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newDf(env *environment) *cobra.Command {
	return insideCommand(env, &cobra.Command{
		Use:     "df IMAGE",
		Short:   "Show the sizes and used space of file systems in an image",
		Long:    "Show the size and the used space of each file system in an image, in bytes, as it records them. (virt-df)",
		Example: "  imsfs df disk.qcow2",
		Args:    exactly("IMAGE"),
	}, func(ctx context.Context, opts insideOptions, args []string) error {
		in, err := openInsides(ctx, env, opts, args[0])
		if err != nil {
			return err
		}
		defer in.Close()
		table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "SLICE\tTYPE\tSIZE\tUSED\tFREE")
		for _, s := range in.layout.Slices {
			t, err := s.Tree(ctx)
			if err != nil {
				continue
			}
			i, used, free := t.Info(), "unknown", "unknown"
			if i.Used >= 0 {
				used, free = fmt.Sprint(i.Used), fmt.Sprint(max(0, i.Size-i.Used))
			}
			fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", escape(s.ID), i.Type, i.Size, used, free)
		}
		return errOr(ctx.Err(), table.Flush())
	})
}

func errOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
