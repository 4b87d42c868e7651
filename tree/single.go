package tree

import (
	"time"
)

// Single returns the tree of one disk that is in no store: the disk, and a text about it.
func Single(file DiskFile, name, status string, opened time.Time) Dir {
	return fixed(Thing{Time: opened}, file, []row[DiskFile]{
		{"disk", KindDisk, func(f DiskFile, is Thing) Node {
			return Disk{Thing: is, Name: name, File: f, Constant: true}
		}},
		{"status", KindText, text(func(DiskFile) string { return status })},
	}, always)
}
