package zstream

import (
	"testing"

	"github.com/imsfs/imsfs/formats"
)

// TestGeometry holds rows of VHD's appendix: one for each of its branches. The golden files add the real ones.
func TestGeometry(t *testing.T) {
	for _, c := range []struct {
		size int64
		want string
	}{
		{512, "0/4/17"},
		{9438720, "271/4/17"},
		{16 << 20, "481/4/17"},
		{100 << 20, "1003/12/17"},
		{200 << 20, "825/16/31"},
		{256 << 20, "520/16/63"},
		{1 << 30, "2080/16/63"},
		{40 << 30, "20560/16/255"},
		{136899993600, "65535/16/255"},
		{1 << 40, "65535/16/255"},
	} {
		h := New("12345678", c.size, formats.CreateOptions{})
		if got := h.Details()[5].Value; got != c.want {
			t.Errorf("the geometry of %d bytes is %s, want %s", c.size, got, c.want)
		}
	}
}
