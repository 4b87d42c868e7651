package lifecycle

import "testing"

func TestParseOwner(t *testing.T) {
	for _, c := range []struct {
		value    string
		uid, gid int64
		ok       bool
	}{
		{"0", 0, -1, true},
		{"64055", 64055, -1, true},
		{"64055:108", 64055, 108, true},
		{"4294967294:4294967294", 4294967294, 4294967294, true},
		{value: "4294967295"},
		{value: "1:4294967295"},
		{value: "libvirt-qemu"},
		{value: ":108"},
		{value: "1:"},
		{value: "1:2:3"},
		{value: "-1"},
		{value: "007"},
	} {
		uid, gid, ok := parseOwner(c.value)
		if ok != c.ok || ok && (uid != c.uid || gid != c.gid) {
			t.Errorf("%q is %d, %d, %v; want %d, %d, %v", c.value, uid, gid, ok, c.uid, c.gid, c.ok)
		}
		if allowed := (ownerRule{}).Check(c.value) == nil; allowed != c.ok {
			t.Errorf("the rule allows %q: %v, want %v", c.value, allowed, c.ok)
		}
	}
}
