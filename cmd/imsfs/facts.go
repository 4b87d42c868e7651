package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"

	"github.com/imsfs/imsfs/formats"
)

// infoReport is the JSON form: the keys of qemu-img info, where it has them.
type infoReport struct {
	Filename      string           `json:"filename"`
	Format        string           `json:"format"`
	VirtualSize   int64            `json:"virtual-size"`
	ActualSize    int64            `json:"actual-size"`
	DataSize      *int64           `json:"data-size,omitempty"`
	SectorSize    int64            `json:"logical-sector-size"`
	ClusterSize   int64            `json:"cluster-size"`
	Compression   string           `json:"compression,omitempty"`
	Backing       string           `json:"backing-filename,omitempty"`
	FullBacking   string           `json:"full-backing-filename,omitempty"`
	BackingFormat string           `json:"backing-filename-format,omitempty"`
	Snapshots     []snapshotReport `json:"snapshots,omitempty"`
	Specific      *formatDetails   `json:"format-specific,omitempty"`
}

type snapshotReport struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	VMState int64  `json:"vm-state-size"`
	Date    int64  `json:"date-sec"`
	Size    int64  `json:"virtual-size"`
}

type formatDetails struct {
	Type string            `json:"type"`
	Data map[string]string `json:"data"`
}

// writeFactsJSON prints one object, or an array of all layers.
func writeFactsJSON(env *environment, list []facts, chain bool) error {
	if !chain {
		return env.writeJSON(list[0].report())
	}
	var reports []infoReport
	for _, f := range list {
		reports = append(reports, f.report())
	}
	return env.writeJSON(reports)
}

func (f facts) report() infoReport {
	r := infoReport{
		Filename:    f.path,
		Format:      f.Format,
		VirtualSize: f.Size,
		ActualSize:  f.diskSize,
		SectorSize:  f.SectorSize,
		ClusterSize: f.ClusterSize,
		Compression: f.Compression,
	}
	if f.Allocated != formats.Unknown {
		r.DataSize = &f.Allocated
	}
	if b := f.Backing; b != nil {
		if len(b.Paths) > 0 {
			r.Backing = b.Paths[0]
		}
		r.FullBacking, r.BackingFormat = f.backing, b.Format
	}
	for _, s := range f.Snapshots {
		r.Snapshots = append(r.Snapshots, snapshotReport{s.ID, s.Name, s.VMState, s.Time, s.Size})
	}
	if len(f.Details) > 0 {
		r.Specific = &formatDetails{Type: f.Format, Data: map[string]string{}}
		for _, d := range f.Details {
			r.Specific.Data[d.Key] = d.Value
		}
	}
	return r
}

// describe prints for people, as qemu-img info does.
func (f facts) describe(out io.Writer) {
	fmt.Fprintf(out, "image: %s\nfile format: %s\n", f.path, f.Format)
	fmt.Fprintf(out, "virtual size: %s\n", size(f.Size))
	fmt.Fprintf(out, "disk size: %s\n", size(f.diskSize))
	if f.Allocated != formats.Unknown {
		fmt.Fprintf(out, "data: %s\n", size(f.Allocated))
	}
	if f.SectorSize != formats.SectorSize {
		fmt.Fprintf(out, "logical sector size: %d bytes\n", f.SectorSize)
	}
	fmt.Fprintf(out, "cluster size: %s\n", size(f.ClusterSize))
	if f.Compression != "" {
		fmt.Fprintf(out, "compression: %s\n", f.Compression)
	}
	f.describeBacking(out)
	f.describeSnapshots(out)
	if len(f.Details) > 0 {
		fmt.Fprintln(out, "format specific information:")
	}
	for _, d := range f.Details {
		fmt.Fprintf(out, "    %s: %s\n", d.Key, printable(d.Value))
	}
}

func (f facts) describeBacking(out io.Writer) {
	if f.Backing == nil {
		return
	}
	name := "(without a name)"
	if len(f.Backing.Paths) > 0 {
		name = printable(f.Backing.Paths[0])
	}
	switch {
	case f.unfollowed != nil:
		name += fmt.Sprintf(" (not followed: %s)", oneLine(f.unfollowed))
	case f.backing != "" && f.backing != name:
		name += fmt.Sprintf(" (actual path: %s)", printable(f.backing))
	}
	fmt.Fprintf(out, "backing file: %s\n", name)
	if f.Backing.Format != "" {
		fmt.Fprintf(out, "backing file format: %s\n", printable(f.Backing.Format))
	}
}

// maxListed bounds the snapshots that are laid out for people: an image may have 65536, of names as
// long as it likes.
const maxListed = 1000

func (f facts) describeSnapshots(out io.Writer) {
	if len(f.Snapshots) == 0 {
		return
	}
	fmt.Fprintln(out, "snapshot list:")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tTAG\tVM SIZE\tDATE\tVIRTUAL SIZE")
	for _, s := range f.Snapshots[:min(len(f.Snapshots), maxListed)] {
		vm, disk := uint64(max(s.VMState, 0)), uint64(max(s.Size, 0))
		date := time.Unix(s.Time, 0).UTC().Format(time.RFC3339)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", printable(s.ID), printable(s.Name), humanize.IBytes(vm), date, humanize.IBytes(disk))
	}
	table.Flush()
	if rest := len(f.Snapshots) - maxListed; rest > 0 {
		fmt.Fprintf(out, "(%d more are in --json)\n", rest)
	}
}

// printable is a text from an image, which may hold anything, quoted if it could disturb a
// terminal.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// size is for people, with the exact bytes for those who need them.
func size(n int64) string {
	return fmt.Sprintf("%s (%d bytes)", humanize.IBytes(uint64(n)), n)
}
