package catalog

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// What becomes of each section of an image's record:
//
//	section             note         base of a volume   image that a volume is committed to
//	ID                  no           yes                new
//	Name, Registered    yes          yes                new
//	State, Error        no           no                 active
//	Source              yes          yes                the base's
//	Disk                yes          yes                the base's, of the volume's size
//	Keeping             not the      not Hydrating      kept and committed
//	                    job's state
//	About               yes          no                 the volume's
//
// The functions below are all that decides it. A test fails for a field that is in no row.

// Base returns the part of the record that a volume keeps.
func (i Image) Base() Base {
	i.Hydrating = false
	return Base{i.ID, i.Name, i.Registered, i.Source, i.Disk, i.Keeping}
}

// Image returns a base as the record of an active image without anything that people wrote.
func (b Base) Image() Image {
	return Image{ID: b.ID, Name: b.Name, State: Active, Registered: b.Registered, Source: b.Source, Disk: b.Disk, Keeping: b.Keeping}
}

// Committed returns the record of an image with the content of the volume. It lacks number, name
// and time.
func (v Volume) Committed() Image {
	made := Image{Source: Source{Format: "raw"}, Disk: Disk{ClusterSize: 1}}
	if v.Base != nil {
		made.Source, made.Disk = v.Base.Source, v.Base.Disk
		made.SourceSize = v.Base.DiskSize(v.Base.Size)
	}
	made.State, made.Size, made.About = Active, v.Size, v.About
	made.Keeping = Keeping{Load: Lazy, Kept: true, Committed: true}
	return made
}

// Note returns the text from which a rebuild of the block store without its database restores the
// image, in at most so many bytes. A part that does not fit is left out in the order of
// leastNeeded, and named in dropped.
func (i Image) Note(most int) (note string, dropped []string, err error) {
	i.ID, i.State, i.Error, i.Size, i.Hydrating, i.Kept = 0, "", "", 0, false, false
	for n := 0; ; n++ {
		text, err := plainJSON(i)
		if err != nil {
			return "", nil, err
		}
		if len(text) <= most {
			return text, dropped, nil
		}
		if n == len(leastNeeded) {
			return "", dropped, fmt.Errorf("the note of image %q has %d bytes (at most %d)", i.Name, len(text), most)
		}
		if leastNeeded[n].drop(&i) {
			dropped = append(dropped, leastNeeded[n].name)
		}
	}
}

// leastNeeded lists the parts that a full note omits, the first first. A disk in a note is
// complete, so it can be read without its source.
var leastNeeded = []struct {
	name string
	drop func(*Image) bool // reports whether there was something
}{
	{"description", func(i *Image) bool { return i.dropMeta("description") }},
	{"os_version", func(i *Image) bool { return i.dropMeta("os_version") }},
	{"the files beside the source", func(i *Image) (was bool) { was, i.Beside = len(i.Beside) > 0, nil; return was }},
	{"the map", func(i *Image) (was bool) { was, i.Map = i.Map != "", ""; return was }},
	{"tags", func(i *Image) (was bool) { was, i.Tags = len(i.Tags) > 0, nil; return was }},
	{"the source", func(i *Image) (was bool) { was, i.Source = i.Path != "", Source{Format: i.Format}; return was }},
}

func (i *Image) dropMeta(key string) bool {
	if i.Meta[key] == "" {
		return false
	}
	i.Meta = With(i.Meta, key, "")
	return true
}

// plainJSON is json.Marshal without escapes for HTML, which make six bytes of one.
func plainJSON(v any) (string, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return string(bytes.TrimSuffix(text.Bytes(), []byte("\n"))), err
}
