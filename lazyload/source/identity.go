package source

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Keys of an identity's tag.
const (
	Inode      = "inode" // a file's number in its file system
	ChangeTime = "ctime" // of a file's inode, in nanoseconds since 1970
	Attributes = "attrs" // of a file that move its ctime: mode, owner, group, number of links
	ETag       = "etag"  // a strong one, without quotes
	Version    = "version"
)

// Identity names one state of one source. It is kept as JSON.
//
// The device number of a file is not part of it, because the kernel numbers some devices anew at
// every start.
type Identity struct {
	Size    int64
	ModTime int64 // nanoseconds since 1970; 0 if the kind has none
	Tag     Tag
}

// Tag holds what else a kind knows of a state: words KEY=VALUE, separated by spaces, for example
// "inode=12 ctime=1700000000000000000". A value has no space in it.
type Tag string

// NewTag makes a tag of keys and values by turns. A key with an empty value is left out.
func NewTag(pairs ...string) Tag {
	var words []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := pairs[i+1]; value != "" {
			words = append(words, pairs[i]+"="+strings.ReplaceAll(value, " ", "%20"))
		}
	}
	return Tag(strings.Join(words, " "))
}

// Get returns the value of a key, or "".
func (t Tag) Get(key string) string {
	for word := range strings.FieldsSeq(string(t)) {
		if value, ok := strings.CutPrefix(word, key+"="); ok {
			return value
		}
	}
	return ""
}

// another returns the first key of t whose value names another thing in now, or "". A key that only
// now has is not compared: t may be older than the key.
func (t Tag) another(now Tag) (key string) {
	for word := range strings.FieldsSeq(string(t)) {
		key, value, _ := strings.Cut(word, "=")
		if key != ChangeTime && key != Attributes && now.Get(key) != value {
			return key
		}
	}
	return ""
}

// touched reports whether the time of change moved without a visible reason. A program can put back
// the time of writing but not the time of change. A change of mode, owner or links also moves the
// latter; such a change is visible and harmless.
func (t Tag) touched(now Tag) bool {
	was := t.Get(ChangeTime)
	return was != "" && was != now.Get(ChangeTime) && t.Get(Attributes) == now.Get(Attributes)
}

// Changed returns nil if now is the state that id names, and otherwise an error that names the
// change. Properties that id does not have are not compared.
func (id Identity) Changed(location string, now Identity) error {
	if id == now {
		return nil
	}
	key := id.Tag.another(now.Tag)
	switch {
	case key != "":
		return fmt.Errorf("%s: %w: another file stands in its place (%s %s was %s)",
			location, ErrChanged, key, now.Tag.Get(key), id.Tag.Get(key))
	case now.Size < id.Size:
		return fmt.Errorf("%s: %w: truncated from %d to %d bytes", location, ErrChanged, id.Size, now.Size)
	case now.Size > id.Size:
		return fmt.Errorf("%s: %w: grown from %d to %d bytes", location, ErrChanged, id.Size, now.Size)
	case now.ModTime != id.ModTime:
		return fmt.Errorf("%s: %w: it was written to", location, ErrChanged)
	case id.Tag.touched(now.Tag):
		return fmt.Errorf("%s: %w: its time of change (ctime) moved without a visible reason: "+
			"it was written to and its time put back, or it was renamed", location, ErrChanged)
	}
	return nil
}

// identityJSON is an identity on disk. Records that were written before tags existed have the inode
// beside the size, and nothing else.
type identityJSON struct {
	Inode   uint64 `json:"inode,omitempty"`
	Size    int64  `json:"size"`
	ModTime int64  `json:"mtime"`
	Tag     Tag    `json:"tag,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (id Identity) MarshalJSON() ([]byte, error) {
	return json.Marshal(identityJSON{Size: id.Size, ModTime: id.ModTime, Tag: id.Tag})
}

// UnmarshalJSON implements json.Unmarshaler.
func (id *Identity) UnmarshalJSON(b []byte) error {
	var j identityJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	if j.Tag == "" && j.Inode != 0 {
		j.Tag = NewTag(Inode, strconv.FormatUint(j.Inode, 10))
	}
	*id = Identity{Size: j.Size, ModTime: j.ModTime, Tag: j.Tag}
	return nil
}
