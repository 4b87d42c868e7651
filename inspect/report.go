package inspect

import (
	"context"
	"errors"
	"fmt"

	"github.com/imsfs/imsfs/inspect/content"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/system"
	"github.com/imsfs/imsfs/inspect/table"
)

// Schema is the version of Report. Keys are only ever added.
const Schema = 1

// Report is everything that is known of a disk, in the form of `imsfs inspect --json`.
type Report struct {
	Schema  int             `json:"schema"`
	Image   ImageReport     `json:"image"`
	Table   TableReport     `json:"table"`
	Slices  []SliceReport   `json:"slices"`
	Systems []system.System `json:"systems"`
	Boot    system.Boot     `json:"boot"`
	Checks  []SystemChecks  `json:"checks"`
	Cost    CostReport      `json:"cost"`
	Limits  []string        `json:"limits_hit"`
}

// ImageReport names the disk. Only the caller of Layout.Report knows the name and format.
type ImageReport struct {
	Name   string `json:"name,omitempty"`
	Format string `json:"format,omitempty"`
	Size   int64  `json:"size"`
}

// TableReport is the partition table.
type TableReport struct {
	Type       string   `json:"type"`
	SectorSize int64    `json:"sector"`
	UUID       string   `json:"uuid,omitempty"`
	Notes      []string `json:"notes,omitempty"`
}

// SliceReport is a slice and its content.
type SliceReport struct {
	ID       string         `json:"id"`
	Kind     string         `json:"kind"`
	Off      int64          `json:"offset"`
	Size     int64          `json:"size"`
	Type     string         `json:"type,omitempty"`
	TypeName string         `json:"type_name,omitempty"`
	Name     string         `json:"name,omitempty"`
	UUID     string         `json:"uuid,omitempty"`
	Bootable bool           `json:"bootable,omitempty"`
	Content  *ContentReport `json:"content,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
}

// ContentReport is the content of a slice.
type ContentReport struct {
	Type      string   `json:"type"`
	Label     string   `json:"label,omitempty"`
	UUID      string   `json:"uuid,omitempty"`
	Size      int64    `json:"size,omitempty"`
	Used      *int64   `json:"used,omitempty"`
	BlockSize int64    `json:"block_size,omitempty"`
	State     string   `json:"state,omitempty"` // clean, dirty, replayed, damaged, unsupported
	Features  []string `json:"features,omitempty"`
	Notes     []string `json:"notes,omitempty"`
}

// CostReport is the price of the report.
type CostReport struct {
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
}

// Report opens every file system and looks for operating systems. Damage and unread content are in
// the report; the error is for a context that ended. today is a day as YYYY-MM-DD, for ends of
// support.
func (l *Layout) Report(ctx context.Context, today string) (*Report, error) {
	r := &Report{Schema: Schema, Image: ImageReport{Size: l.disk.Size()}, Table: tableReport(l.Table), Limits: []string{}}
	var err error
	if r.Slices, err = l.SliceReports(ctx); err != nil {
		return nil, err
	}
	roots, err := l.Roots(ctx)
	if err != nil && !errors.Is(err, disk.ErrBudget) {
		return nil, err
	}
	if err != nil {
		r.Limits = append(r.Limits, err.Error())
	}
	r.Systems = l.describe(ctx, roots)
	r.Boot = l.boot(ctx)
	r.Checks = l.checkRoots(ctx, roots, r.Systems, today)
	cost := l.Cost()
	r.Cost = CostReport{Requests: cost.Requests, Bytes: cost.Bytes}
	return r, ctx.Err()
}

// SliceReports opens every file system and returns the slices with their contents.
func (l *Layout) SliceReports(ctx context.Context) ([]SliceReport, error) {
	list := []SliceReport{}
	for _, s := range l.Slices {
		list = append(list, s.report(ctx))
	}
	return list, ctx.Err()
}

func tableReport(t table.Table) TableReport {
	r := TableReport{Type: string(t.Kind), SectorSize: t.SectorSize, UUID: t.UUID, Notes: t.Notes}
	if t.Kind == table.None {
		r.Type = "none"
	}
	return r
}

func (s *Slice) report(ctx context.Context) SliceReport {
	r := SliceReport{ID: s.ID, Kind: string(s.Kind), Off: s.Off, Size: s.Size}
	if p := s.Partition; p != nil {
		r.Type, r.TypeName, r.Name, r.UUID, r.Bootable = p.Type, p.TypeName, p.Name, p.UUID, p.Bootable
	}
	r.Content = s.contentReport(ctx)
	r.Notes = s.Notes
	return r
}

func (s *Slice) contentReport(ctx context.Context) *ContentReport {
	c := s.Content()
	t, err := s.Tree(ctx)
	if err == nil {
		i := t.Info()
		r := &ContentReport{
			Type: i.Type, Label: i.Label, UUID: i.UUID, Size: i.Size, BlockSize: i.BlockSize,
			State: string(i.State), Features: i.Features, Notes: i.Notes,
		}
		if i.Used >= 0 {
			r.Used = &i.Used
		}
		return r
	}
	if c.Type == "" && errors.Is(err, ErrNoFileSystem) {
		return nil
	}
	r := &ContentReport{Type: c.Type, Label: c.Label, UUID: c.UUID}
	switch {
	case c.Kind == content.Member || c.Kind == content.Swap:
	case errors.Is(err, disk.ErrUnsupported):
		r.State = "unsupported"
		r.Notes = []string{err.Error()}
	default:
		r.State = "damaged"
		r.Notes = []string{fmt.Sprint(err)}
	}
	return r
}
