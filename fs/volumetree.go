package fs

import (
	"context"

	"github.com/imsfs/imsfs/lifecycle"
)

func (t *tree) volumes() []child {
	var children []child
	for _, v := range t.reg.Volumes() {
		children = append(children, t.volumeEntry(v))
	}
	return children
}

func (t *tree) volume(name string) (child, bool) {
	v, err := t.reg.Volume(name)
	if err != nil {
		return child{}, false
	}
	return t.volumeEntry(v), true
}

func (t *tree) volumeEntry(v *lifecycle.Volume) child {
	return child{v.Name(), ino(v, imageDir), &dir{time: v.Created(), list: func() []child { return t.volumeFiles(v) }}}
}

// volumeFiles lists a volume's directory. It is empty once the volume is deleted.
func (t *tree) volumeFiles(v *lifecycle.Volume) []child {
	if v.Deleted() {
		return nil
	}
	at := v.Created()
	return []child{
		{"ctl", ino(v, imageControl), &control{commander: v, time: at, log: t.log}},
		{"disk", ino(v, imageDisk), newWritable(volumeFile{v}, at, v.Name(), t.log)},
		{"error", ino(v, imageError), &text{time: at, content: func() string { return line(v.LastError()) }}},
		{"job", ino(v, imageJob), &text{time: at, content: func() string { return line(v.Job()) }}},
		{"meta", ino(v, imageMeta), &dir{time: at, list: func() []child { return attributes(v, at) }}},
		{"status", ino(v, imageStatus), &text{time: at, content: v.Status}},
	}
}

// volumeFile is a volume as a WritableDiskFile.
type volumeFile struct{ *lifecycle.Volume }

func (f volumeFile) Open(ctx context.Context, write bool) (WritableDisk, error) {
	w := lifecycle.Reading
	if write {
		w = lifecycle.Daemon
	}
	h, err := f.Volume.Open(ctx, w)
	if err != nil {
		return nil, err // not h: a nil handle in the interface would not be nil
	}
	return h, nil
}
