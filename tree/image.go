package tree

import (
	"context"

	"github.com/imsfs/imsfs/lifecycle"
)

// images lists all images. Their keys are their numbers.
func images(reg *lifecycle.Registry, in *insides, is Thing) Dir {
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
			return imageDir(img, in, is.Key), true
		},
	}
}

func imageDir(img *lifecycle.Image, in *insides, images Key) Dir {
	is := Thing{images.Numbered(img.ID()), img.Registered()}
	return fixed(is, img, imageRows(in), func() bool { return !img.Deleted() })
}

func imageRows(in *insides) []row[*lifecycle.Image] {
	return []row[*lifecycle.Image]{
		{"ctl", KindControl, func(img *lifecycle.Image, is Thing) Node { return Control{is, img} }},
		{"digest", KindText, lines((*lifecycle.Image).Digest)},
		{"disk", KindDisk, func(img *lifecycle.Image, is Thing) Node {
			return Disk{Thing: is, Name: img.Name(), File: imageFile{img}, Constant: true}
		}},
		{"error", KindText, lines((*lifecycle.Image).LastError)},
		{"inspect", KindText, func(img *lifecycle.Image, is Thing) Node {
			return Text{Thing: is, Make: func(ctx context.Context) string { return in.report(ctx, img) }}
		}},
		{"job", KindText, lines((*lifecycle.Image).Job)},
		{"meta", KindDir, func(img *lifecycle.Image, is Thing) Node { return attributes(img, is) }},
		{"partitions", KindDir, func(img *lifecycle.Image, is Thing) Node { return imagePartitions(img, in, is) }},
		{"status", KindText, text((*lifecycle.Image).Status)},
		{"tags", KindDir, tags},
	}
}

func imagePartitions(img *lifecycle.Image, in *insides, is Thing) Dir {
	return partitions(partitioned{img.Name(), imageFile{img}, true, func() []part {
		if img.Deleted() {
			return nil
		}
		return in.imageParts(img.ID(), imageFile{img})
	}}, is)
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
