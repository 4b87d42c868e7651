package formats

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

// text is a Source of a few bytes.
type text string

func (t text) Size() int64 { return int64(len(t)) }

func (t text) ReadAt(_ context.Context, p []byte, off int64) error {
	if off < 0 || off+int64(len(p)) > t.Size() {
		return io.ErrUnexpectedEOF
	}
	copy(p, t[off:])
	return nil
}

// word is a driver of files that hold a word anywhere; its images answer what they are told to.
type word struct {
	name   string
	info   Info
	extent func(off, n int64) Extent
}

func (w word) Name() string { return w.name }

func (w word) Probe(_ context.Context, src Source) (bool, error) {
	return strings.Contains(string(src.(text)), w.name), nil
}

func (w word) Open(context.Context, Source, OpenOptions) (Image, error) { return w, nil }
func (w word) Info() Info                                               { return w.info }

func (w word) Extent(_ context.Context, off, n int64) (Extent, error) { return w.extent(off, n), nil }

func (w word) ReadAt(_ context.Context, p []byte, _ int64) error {
	clear(p)
	return nil
}

func TestProbe(t *testing.T) {
	a, b, fallback := word{name: "alpha"}, word{name: "beta"}, word{name: "raw"}
	foreign := []Signature{{"gzip", 0, "\x1f\x8b"}, {"tail", 5, "end"}}
	for _, c := range []struct {
		name, content string
		want, says    string
		is            error
	}{
		{name: "one claim", content: "..alpha..", want: "alpha"},
		{name: "two claims", content: "alpha beta", says: "alpha and beta", is: ErrCorrupt},
		{name: "a driver and a foreign one", content: "\x1f\x8bbeta", says: "beta and gzip", is: ErrCorrupt},
		{name: "nobody", content: "nothing", want: "raw"},
		{name: "foreign", content: "\x1f\x8b...", says: "gzip is not read", is: errors.ErrUnsupported},
		{name: "foreign, further on", content: "12345end", says: "tail is not read", is: errors.ErrUnsupported},
		{name: "too short for a signature", content: "\x1f", want: "raw"},
		{name: "empty", content: "", says: "empty", is: ErrCorrupt},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := Set{Drivers: []Driver{a, b}, Fallback: fallback, Foreign: foreign}
			d, err := set.Probe(t.Context(), text(c.content))
			if c.says == "" {
				if err != nil || d.Name() != c.want {
					t.Errorf("%v, %v; want %s", d, err, c.want)
				}
				return
			}
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v; want %v with %q", err, c.is, c.says)
			}
		})
	}
}

func TestUnknownFormatListsTheKnown(t *testing.T) {
	set := Set{Drivers: []Driver{word{name: "alpha"}, word{name: "beta"}}}
	for _, name := range []string{"gamma", ""} {
		_, err := set.Open(t.Context(), text("..."), name, OpenOptions{})
		if err == nil || !strings.Contains(err.Error(), "unknown format") || !strings.Contains(err.Error(), "alpha, beta") {
			t.Errorf("format %q: %v", name, err)
		}
	}
}

func TestImpossibleDisksAreRefused(t *testing.T) {
	for _, info := range []Info{
		{Size: 4096 + 512, ClusterSize: 512, SectorSize: 4096},
		{Size: 4096, ClusterSize: 512, SectorSize: 1024},
		{Size: -1, ClusterSize: 512},
		{Size: MaxDiskSize + 1, ClusterSize: 512},
		{Size: 512, ClusterSize: 0},
		{Size: 512, ClusterSize: 3 * 512},
		{Size: 512, ClusterSize: 2 * MaxClusterSize},
		{Size: 512, ClusterSize: 2 * MaxCompressedCluster, Compression: "zstd"},
	} {
		set := Set{Drivers: []Driver{word{name: "alpha", info: info}}}
		if _, err := set.Open(t.Context(), text("alpha"), "", OpenOptions{}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%+v: %v, want ErrCorrupt", info, err)
		}
	}
}

func TestRequestsAndAnswersAreChecked(t *testing.T) {
	var answer Extent
	d := word{name: "alpha", info: Info{Format: "alpha", Size: 4096, ClusterSize: 512}, extent: func(_, _ int64) Extent { return answer }}
	img, err := Set{Drivers: []Driver{d}}.Open(t.Context(), text("alpha"), "", OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{-1, 10}, {0, 4097}, {4096, 1}, {1 << 62, 1 << 62}} {
		if err := img.ReadAt(t.Context(), make([]byte, min(r[1], 5000)), r[0]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("read of %v: %v", r, err)
		}
		if _, err := img.Extent(t.Context(), r[0], r[1]); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("extent of %v: %v", r, err)
		}
	}
	for _, answer = range []Extent{{Off: 0, Len: 0}, {Off: 0, Len: -1}, {Off: 0, Len: 101}, {Off: 5, Len: 10}} {
		if _, err := img.Extent(t.Context(), 0, 100); err == nil {
			t.Errorf("the driver's answer %+v was believed", answer)
		}
	}
}

// indexedWord is a driver of images that are Indexed.
type indexedWord struct{ word }

func (w indexedWord) Open(context.Context, Source, OpenOptions) (Image, error) { return w, nil }
func (w indexedWord) IndexSize() int64                                         { return 42 }

func (w indexedWord) BuildIndex(_ context.Context, write func(p []byte) error) error {
	return write([]byte("index"))
}

func (w indexedWord) UseIndex(context.Context, Source) error { return errors.ErrUnsupported }

func (w indexedWord) UsesIndex() bool { return true }

func TestChecksDoNotHideAnIndex(t *testing.T) {
	w := word{name: "alpha", info: Info{Format: "alpha", Size: 512, ClusterSize: 512}}
	for _, d := range []Driver{w, indexedWord{w}} {
		img, err := Set{Drivers: []Driver{d}}.Open(t.Context(), text("alpha"), "", OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := img.ReadAt(t.Context(), make([]byte, 1), 512); err == nil {
			t.Error("a read after the end was answered")
		}
		ix, ok := img.(Indexed)
		if _, want := d.(indexedWord); ok != want {
			t.Errorf("%T: Indexed is %v", d, ok)
		}
		if !ok {
			continue
		}
		var built string
		err = ix.BuildIndex(t.Context(), func(p []byte) error { built += string(p); return nil })
		if err != nil || built != "index" || !ix.UsesIndex() || ix.IndexSize() != 42 || !errors.Is(ix.UseIndex(t.Context(), nil), errors.ErrUnsupported) {
			t.Errorf("the index is another: %q, %v", built, err)
		}
	}
}

func TestExtentsAreJoined(t *testing.T) {
	// A driver that stops at every 100 bytes, with data from 500 to 1000.
	d := word{info: Info{Size: 2000}, extent: func(off, n int64) Extent {
		e := Extent{Off: off, Len: min(n, 100-off%100), State: Zero}
		if off >= 500 && off < 1000 {
			e.State = Data
		}
		return e
	}}
	var got []Extent
	for e, err := range Extents(t.Context(), d, 50, 1900) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
	}
	want := []Extent{{Off: 50, Len: 450, State: Zero}, {Off: 500, Len: 500, State: Data}, {Off: 1000, Len: 950, State: Zero}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("%v, want %v", got, want)
	}
}
