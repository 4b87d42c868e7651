package fs

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/imsfs/imsfs/lifecycle"
)

// Root is a whole tree, to be mounted once.
type Root struct{ dir *dir }

// Inode numbers: what is fixed has small ones, an image's or a volume's files have its number in the upper bits.
const (
	inoImages = 2 + iota
	inoReadme
	inoControl
	inoStatus
	inoError
	inoJob
	inoVolumes
)

const (
	imageDir = iota
	imageDisk
	imageControl
	imageStatus
	imageJob
	imageError
	imageMeta
	imageDigest
	imageAttribute // and those behind it

	imageBits = 8
)

// Tree is the tree of all images of a registry.
func Tree(reg *lifecycle.Registry, started time.Time, log *slog.Logger) Root {
	t := &tree{reg, log}
	root := []child{
		{"README", inoReadme, &text{time: started, content: func() string { return readme }}},
		{"ctl", inoControl, &control{commander: reg, time: started, log: log}},
		{"error", inoError, &text{time: started, content: func() string { return line(reg.LastError()) }}},
		{"job", inoJob, &text{time: started, content: func() string { return line(reg.Job()) }}},
		{"images", inoImages, &dir{list: t.images, find: t.image, time: started}},
		{"status", inoStatus, &text{time: started, content: reg.Status}},
		{"volumes", inoVolumes, &dir{list: t.volumes, find: t.volume, time: started}},
	}
	return Root{&dir{time: started, list: func() []child { return root }}}
}

type tree struct {
	reg *lifecycle.Registry
	log *slog.Logger
}

func (t *tree) images() []child {
	images := t.reg.Images()
	children := make([]child, len(images))
	for i, img := range images {
		children[i] = t.entry(img)
	}
	return children
}

func (t *tree) image(name string) (child, bool) {
	img, err := t.reg.Image(name)
	if err != nil {
		return child{}, false
	}
	return t.entry(img), true
}

func (t *tree) entry(img *lifecycle.Image) child {
	return child{img.Name(), ino(img, imageDir), &dir{time: img.Registered(), list: func() []child { return t.files(img) }}}
}

// ino is the inode number of a file of an image or a volume.
func ino(of interface{ ID() uint64 }, file uint64) uint64 { return of.ID()<<imageBits | file }

// files lists an image's directory. It is empty once the image is deleted: who stands in it sees that.
func (t *tree) files(img *lifecycle.Image) []child {
	if img.Deleted() {
		return nil
	}
	at := img.Registered()
	return []child{
		{"ctl", ino(img, imageControl), &control{commander: img, time: at, log: t.log}},
		{"digest", ino(img, imageDigest), &text{time: at, content: func() string { return line(img.Digest()) }}},
		{"disk", ino(img, imageDisk), newDisk(imageFile{img}, at, img.Name(), t.log)},
		{"error", ino(img, imageError), &text{time: at, content: func() string { return line(img.LastError()) }}},
		{"job", ino(img, imageJob), &text{time: at, content: func() string { return line(img.Job()) }}},
		{"meta", ino(img, imageMeta), &dir{time: at, list: func() []child { return attributes(img, at) }}},
		{"status", ino(img, imageStatus), &text{time: at, content: img.Status}},
	}
}

// described is an image or a volume, as far as people describe it.
type described interface {
	ID() uint64
	Meta() []lifecycle.Attribute
}

func attributes(of described, at time.Time) []child {
	var children []child
	for i, a := range of.Meta() {
		children = append(children, child{a.Key, ino(of, imageAttribute+uint64(i)), &text{time: at, content: func() string {
			return line(of.Meta()[i].Value)
		}}})
	}
	return children
}

// line is a text of one line, or none.
func line(s string) string {
	if s == "" {
		return ""
	}
	return strings.TrimSuffix(s, "\n") + "\n"
}

// imageFile is an image as a DiskFile.
type imageFile struct{ *lifecycle.Image }

func (f imageFile) Open(ctx context.Context) (Disk, error) {
	h, err := f.Image.Open(ctx)
	if err != nil {
		return nil, err // not h: a nil handle in the interface would not be nil
	}
	return h, nil
}

// Single is the tree of one disk that is in no store: the disk and a text about it.
func Single(file DiskFile, name string, opened time.Time, status string, log *slog.Logger) Root {
	children := []child{
		{"disk", 2, newDisk(file, opened, name, log)},
		{"status", 3, &text{time: opened, content: func() string { return status }}},
	}
	return Root{&dir{time: opened, list: func() []child { return children }}}
}
