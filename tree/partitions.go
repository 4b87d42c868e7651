package tree

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/imsfs/imsfs/inspect"
)

// part is a slice of a disk that is a file of its own: a partition, a logical volume, or the whole of
// a disk that has no partitions.
type part struct {
	id   string
	off  int64 // in the disk; scattered if it is not one run
	size int64
}

// scattered is the offset of a part that is not one run of the disk.
const scattered = -1

// tableName is the text beside the parts.
const tableName = "table"

// findParts returns the parts of a disk as they are now.
func findParts(f DiskFile) ([]part, error) {
	var parts []part
	err := look(context.Background(), f, func(_ context.Context, l *inspect.Layout) error {
		taken := map[string]bool{tableName: true}
		for _, s := range l.Slices {
			if s.Source() == nil || taken[s.ID] || !fileName(s.ID) {
				continue
			}
			taken[s.ID] = true
			off := s.Off
			if s.Kind == inspect.LogicalVolume {
				off = scattered
			}
			parts = append(parts, part{s.ID, off, s.Size})
		}
		return nil
	})
	return parts, err
}

// fileName reports whether a file can have a name. The names of logical volumes are the image's.
func fileName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= 255 && !strings.ContainsAny(name, "/\x00")
}

// partitioned is an image or a volume whose parts are shown.
type partitioned struct {
	name     string // for logs
	file     DiskFile
	constant bool
	parts    func() []part // none if the disk cannot be opened
}

// partitions returns the directory with a disk for each part, and the table. It looks into the disk
// when it is listed, and not before.
func partitions(p partitioned, is Thing) Dir {
	return Dir{
		Thing: is,
		List: func() []Entry {
			var entries []Entry
			for _, part := range p.parts() {
				entries = append(entries, Entry{part.id, KindDisk, part.key(is.Key)})
			}
			if entries == nil {
				return nil
			}
			return append(entries, Entry{tableName, KindText, is.Key.Named(tableName)})
		},
		Find: func(name string) (Node, bool) {
			parts := p.parts()
			if name == tableName && len(parts) > 0 {
				return Text{
					Thing: Thing{is.Key.Named(tableName), is.Time},
					Make:  func(ctx context.Context) string { return tableText(ctx, p.file) },
				}, true
			}
			i := slices.IndexFunc(parts, func(part part) bool { return part.id == name })
			if i < 0 {
				return nil, false
			}
			return parts[i].disk(p, is), true
		},
	}
}

// key returns the key of a part. It has the range, because a volume can be partitioned again.
func (p part) key(dir Key) Key { return dir.Named(fmt.Sprintf("%s@%d+%d", p.id, p.off, p.size)) }

func (p part) disk(of partitioned, dir Thing) Disk {
	d := Disk{Thing: Thing{p.key(dir.Key), dir.Time}, Name: of.name + ", " + p.id, Constant: of.constant}
	if p.off == scattered {
		d.File = logical{of.file, p}
	} else {
		d.File = Section(of.file, p.off, p.size)
	}
	return d
}
