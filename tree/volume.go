package tree

import (
	"context"
	"slices"

	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// volumes lists all volumes. Their keys are their numbers.
func volumes(reg *lifecycle.Registry, is Thing) Dir {
	return Dir{
		Thing: is,
		List: func() []Entry {
			all := reg.Volumes()
			entries := make([]Entry, len(all))
			for i, v := range all {
				entries[i] = Entry{v.Name(), KindDir, is.Key.Numbered(v.ID())}
			}
			return entries
		},
		Find: func(name string) (Node, bool) {
			v, err := reg.Volume(name)
			if err != nil {
				return nil, false
			}
			return volumeDir(v, is.Key), true
		},
	}
}

func volumeDir(v *lifecycle.Volume, volumes Key) Dir {
	is := Thing{volumes.Numbered(v.ID()), v.Created()}
	return fixed(is, v, volumeRows(), func() bool { return !v.Deleted() })
}

func volumeRows() []row[*lifecycle.Volume] {
	return []row[*lifecycle.Volume]{
		{"ctl", KindControl, func(v *lifecycle.Volume, is Thing) Node { return Control{is, v} }},
		{"disk", KindDisk, func(v *lifecycle.Volume, is Thing) Node {
			return Disk{Thing: is, Name: v.Name(), File: volumeFile{v}, Owner: v.Owner}
		}},
		{"error", KindText, lines((*lifecycle.Volume).LastError)},
		{"job", KindText, lines((*lifecycle.Volume).Job)},
		{"meta", KindDir, func(v *lifecycle.Volume, is Thing) Node { return attributes(v, is) }},
		{"partitions", KindDir, func(v *lifecycle.Volume, is Thing) Node { return volumePartitions(v, is) }},
		{"status", KindText, text((*lifecycle.Volume).Status)},
	}
}

// volumePartitions looks into the volume each time, because its guest can partition it again. It has
// no logical volumes, whose extents could move while they are read.
func volumePartitions(v *lifecycle.Volume, is Thing) Dir {
	return partitions(partitioned{v.Name(), volumeFile{v}, false, func() []part {
		if v.Deleted() {
			return nil
		}
		parts, err := findParts(volumeFile{v})
		if err != nil {
			return nil
		}
		return slices.DeleteFunc(parts, func(p part) bool { return p.off == scattered })
	}}, is)
}

// volumeFile is a volume as a WritableFile.
type volumeFile struct{ *lifecycle.Volume }

func (f volumeFile) Open(ctx context.Context) (OpenDisk, error) {
	h, err := f.Volume.Open(ctx)
	if err != nil {
		return nil, err // not h: a nil handle in the interface would not be nil
	}
	return h, nil
}

func (f volumeFile) OpenWriter(ctx context.Context, by command.Process) (WritableDisk, error) {
	h, err := f.Volume.OpenWriter(ctx, by)
	if err != nil {
		return nil, err
	}
	return h, nil
}
