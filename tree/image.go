package tree

import (
	"context"

	"github.com/imsfs/imsfs/lifecycle"
)

// images lists all images. Their keys are their numbers.
func images(reg *lifecycle.Registry, is Thing) Dir {
	return Dir{
		Thing: is,
		List: func() []Entry {
			all := reg.Images()
			entries := make([]Entry, len(all))
			for i, img := range all {
				entries[i] = Entry{img.Name(), KindDir, is.Key.Numbered(img.ID())}
			}
			return entries
		},
		Find: func(name string) (Node, bool) {
			img, err := reg.Image(name)
			if err != nil {
				return nil, false
			}
			return imageDir(img, is.Key), true
		},
	}
}

func imageDir(img *lifecycle.Image, images Key) Dir {
	is := Thing{images.Numbered(img.ID()), img.Registered()}
	return fixed(is, img, imageRows(), func() bool { return !img.Deleted() })
}

func imageRows() []row[*lifecycle.Image] {
	return []row[*lifecycle.Image]{
		{"ctl", KindControl, func(img *lifecycle.Image, is Thing) Node { return Control{is, img} }},
		{"digest", KindText, lines((*lifecycle.Image).Digest)},
		{"disk", KindDisk, func(img *lifecycle.Image, is Thing) Node {
			return Disk{Thing: is, Name: img.Name(), File: imageFile{img}, Constant: true}
		}},
		{"error", KindText, lines((*lifecycle.Image).LastError)},
		{"job", KindText, lines((*lifecycle.Image).Job)},
		{"meta", KindDir, func(img *lifecycle.Image, is Thing) Node { return attributes(img, is) }},
		{"status", KindText, text((*lifecycle.Image).Status)},
		{"tags", KindDir, tags},
	}
}

// imageFile is an image as a DiskFile.
type imageFile struct{ *lifecycle.Image }

func (f imageFile) Open(ctx context.Context) (OpenDisk, error) {
	h, err := f.Image.Open(ctx)
	if err != nil {
		return nil, err // not h: a nil handle in the interface would not be nil
	}
	return h, nil
}
