package catalog

import (
	"encoding/binary"
	"time"
)

// volumePrefix and the volume's number, eight bytes, most significant first, are the key of its
// record.
const volumePrefix = "volume/"

// Volume is the record of a volume. Volumes and their deltas have numbers of the images' sequence,
// so no number is ever given twice.
type Volume struct {
	ID      uint64    `json:"id"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Size    int64     `json:"size"`              // bytes; a resize that was cut off ends at it
	From    string    `json:"from,omitempty"`    // the name of the image it was cloned from
	Base    *Base     `json:"base,omitempty"`    // the disk below the deltas; nil: it began empty
	Snapped bool      `json:"snapped,omitempty"` // the base is a snapshot's image, and a revert goes back to Origin
	Origin  *Base     `json:"origin,omitempty"`  // the base before the first snapshot; nil: it began empty
	Deltas  []uint64  `json:"deltas"`            // the one that takes writes is the first
	Shared  bool      `json:"shared,omitempty"`  // several processes may write at a time
	Owner   string    `json:"owner,omitempty"`   // UID or UID:GID of the disk; "": the daemon's
	About
}

// Base is a volume's copy of the record of an image whose disk it rests on: enough to open the disk
// when the image is gone. While the image exists, its own record counts.
type Base struct {
	ID         uint64    `json:"id"` // of the image, and of its disk in the block store
	Name       string    `json:"name,omitempty"`
	Registered time.Time `json:"registered"`
	Source
	Disk
	Keeping
}

func (v Volume) key() []byte {
	return binary.BigEndian.AppendUint64([]byte(volumePrefix), v.ID)
}
func (v Volume) number() uint64 { return v.ID }
func (v Volume) name() string   { return v.Name }

// Bases lists the disks that the volume rests on: its base, and the base of a revert.
func (v Volume) Bases() []Base {
	var of []Base
	for _, b := range []*Base{v.Origin, v.Base} {
		if b != nil {
			of = append(of, *b)
		}
	}
	return of
}

// On returns the record of the volume resting on an image that was made of it. A snapshot
// leaves where a revert goes back to.
func (v Volume) On(img Image, snapshot bool) Volume {
	switch {
	case !snapshot:
		v.From, v.Snapped, v.Origin = img.Name, false, nil
	case !v.Snapped:
		v.Snapped, v.Origin = true, v.Base
	}
	base := img.Base()
	v.Base, v.Deltas = &base, v.Deltas[:1:1]
	return v
}
