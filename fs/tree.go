package fs

import (
	"log/slog"
	"time"
)

// Root is a whole tree, to be mounted once.
type Root struct{ dir *dir }

// Single is the tree of one disk that is in no store: the disk and a text about it.
func Single(file DiskFile, name string, opened time.Time, status string, log *slog.Logger) Root {
	return Root{&dir{time: opened, list: func() []child {
		return []child{
			{"disk", 2, &disk{file: file, time: opened, name: name, log: log}},
			{"status", 3, &text{content: func() string { return status }}},
		}
	}}}
}
