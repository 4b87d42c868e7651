package source

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestIdentityChanged(t *testing.T) {
	id := Identity{Size: 10, ModTime: 5, Tag: NewTag(Inode, "7", ChangeTime, "100", Attributes, "600:0:0:1")}
	with := func(change func(*Identity)) Identity {
		now := id
		change(&now)
		return now
	}
	for _, c := range []struct {
		name string
		now  Identity
		says string // "" if it is unchanged
	}{
		{"the same", id, ""},
		{"truncated", with(func(i *Identity) { i.Size = 9 }), "truncated from 10 to 9"},
		{"grown", with(func(i *Identity) { i.Size = 11 }), "grown from 10 to 11"},
		{"written to", with(func(i *Identity) { i.ModTime = 6 }), "written to"},
		{"another inode", with(func(i *Identity) { i.Tag = NewTag(Inode, "8", ChangeTime, "100", Attributes, "600:0:0:1") }), "another file"},
		{"time put back", with(func(i *Identity) { i.Tag = NewTag(Inode, "7", ChangeTime, "101", Attributes, "600:0:0:1") }), "(ctime) moved"},
		{"linked", with(func(i *Identity) { i.Tag = NewTag(Inode, "7", ChangeTime, "101", Attributes, "600:0:0:2") }), ""},
		{"linked and written to", with(func(i *Identity) {
			i.ModTime, i.Tag = 6, NewTag(Inode, "7", ChangeTime, "101", Attributes, "600:0:0:2")
		}), "written to"},
		{"without its tag", with(func(i *Identity) { i.Tag = "" }), "another file"},
		{"with more in its tag", with(func(i *Identity) { i.Tag += " version=3" }), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := id.Changed("/srv/disk", c.now)
			if c.says == "" && err != nil {
				t.Fatal(err)
			}
			if c.says != "" && (!errors.Is(err, ErrChanged) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v, want ErrChanged with %q", err, c.says)
			}
		})
	}
}

// Stores have identities from before there were tags, and must go on comparing equal.
func TestIdentityOfAnOldRecord(t *testing.T) {
	var old Identity
	if err := json.Unmarshal([]byte(`{"inode":7,"size":10,"mtime":5}`), &old); err != nil {
		t.Fatal(err)
	}
	now := Identity{Size: 10, ModTime: 5, Tag: NewTag(Inode, "7", ChangeTime, "100", Attributes, "600:0:0:1")}
	if err := old.Changed("/srv/disk", now); err != nil {
		t.Error(err)
	}
	now.Tag = NewTag(Inode, "8", ChangeTime, "100")
	if err := old.Changed("/srv/disk", now); !errors.Is(err, ErrChanged) {
		t.Errorf("another inode: %v, want ErrChanged", err)
	}
}

func TestIdentityAsJSON(t *testing.T) {
	for _, id := range []Identity{
		{},
		{Size: 10, ModTime: 5, Tag: NewTag(Inode, "7", ChangeTime, "-100", "none", "")},
		{Size: 10, Tag: NewTag(ETag, `a b"=c`)},
	} {
		b, err := json.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		var again Identity
		if err := json.Unmarshal(b, &again); err != nil || again != id {
			t.Errorf("%+v is %s on disk, which is %+v, %v", id, b, again, err)
		}
	}
}
