package vhd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func newEncoder(t testing.TB, size int64, set map[string]string) formats.Encoder {
	t.Helper()
	e, err := Driver{}.Create(size, formats.CreateOptions{Timestamp: 1_700_000_000, UUID: ownUUID, Set: set})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// write writes a disk as a caller of Encoder does.
func write(t testing.TB, disk formattest.Disk, set map[string]string, dst formats.Target) {
	t.Helper()
	e := newEncoder(t, disk.Bytes, set)
	plain := make([]byte, e.ClusterSize())
	next := int64(0) // cluster
	for _, p := range disk.Parts {
		for ci := max(next, p.Off/e.ClusterSize()); ci*e.ClusterSize() < p.End(); ci++ {
			disk.Fill(plain, ci*e.ClusterSize())
			chunk, err := e.Encode(nil, plain, ci)
			if err != nil {
				t.Fatal(err)
			}
			off, err := e.Place(ci, len(chunk))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dst.WriteAt(chunk, off); err != nil {
				t.Fatal(err)
			}
			next = ci + 1
		}
	}
	if err := e.Finish(t.Context(), dst); err != nil {
		t.Fatal(err)
	}
}

func written(t testing.TB, disk formattest.Disk, set map[string]string) []byte {
	t.Helper()
	var dst formattest.Memory
	write(t, disk, set, &dst)
	return dst.B
}

var fixedSet = map[string]string{"subformat": "fixed"}

// odd is a disk with data at both ends and a hole, of no round size.
func odd() formattest.Disk {
	return formattest.Disk{Bytes: 9<<20 + 512, Parts: []formattest.Part{{Off: 512, Data: formattest.Pattern(512, 70_000)}, {Off: 9<<20 - 512, Data: formattest.Pattern(9<<20-512, 1024)}}}
}

func TestWrittenImagesConform(t *testing.T) {
	dynamic, fixed := written(t, odd(), nil), written(t, odd(), fixedSet)
	formattest.Run(t, Driver{}, []formattest.Case{{Name: "dynamic", Image: dynamic, Disk: odd()}, {Name: "fixed", Image: fixed, Disk: odd()}})
	wantProblems(t, dynamic)
	wantProblems(t, fixed)
	if n := int64(len(fixed)); n != odd().Bytes+512 {
		t.Errorf("the fixed image has %d bytes", n)
	}
}

// The same disk gives the same bytes, for good.
func TestGoldenOutputs(t *testing.T) {
	for _, c := range []struct {
		disk formattest.Disk
		set  map[string]string
		want string
	}{
		{odd(), nil, "62b16e8af08e6457"},
		{odd(), fixedSet, "e57f51170222efa6"},
		{odd(), map[string]string{"align": "1MiB"}, "a584623d7b0c68e0"},
		{formattest.Disk{Bytes: 512}, nil, "1337ade56e105161"},
	} {
		sum := sha256.Sum256(written(t, c.disk, c.set))
		if got := hex.EncodeToString(sum[:8]); got != c.want {
			t.Errorf("%d bytes, %v: %s, want %s", c.disk.Bytes, c.set, got, c.want)
		}
	}
}

func TestAlign(t *testing.T) {
	for text, want := range map[string]int64{"1MiB": 10 << 20, "1M": 10 << 20, "512": 9<<20 + 512, "1024k": 10 << 20, "3MiB": 12 << 20, "1048576": 10 << 20} {
		for _, subformat := range []string{"dynamic", "fixed"} {
			image := written(t, formattest.Disk{Bytes: odd().Bytes, Parts: odd().Parts[1:]}, map[string]string{"align": text, "subformat": subformat})
			img := openImage(t, image)
			if got := img.Info().Size; got != want || subformat == "fixed" && int64(len(image)) != want+512 {
				t.Errorf("align=%s: %s disk of %d bytes, want %d", text, subformat, got, want)
			}
			p := make([]byte, 1024)
			if err := img.ReadAt(t.Context(), p, 9<<20-512); err != nil || !bytes.Equal(p, odd().Parts[1].Data) {
				t.Errorf("align=%s: wrong bytes or %v", text, err)
			}
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	set := func(kv ...string) formats.CreateOptions {
		return formats.CreateOptions{Set: map[string]string{kv[0]: kv[1]}}
	}
	for _, c := range []struct {
		size  int64
		opts  formats.CreateOptions
		words string
	}{
		{0, formats.CreateOptions{}, "multiple of 512"},
		{-512, formats.CreateOptions{}, "multiple of 512"},
		{513, formats.CreateOptions{}, "multiple of 512"},
		{maxSize + 512, formats.CreateOptions{}, "2190433320960 (2040 GiB)"},
		{maxSize + 512, set("subformat", "fixed"), "2040 GiB"},
		{formats.MaxDiskSize, set("align", "1MiB"), "2040 GiB"},
		{maxSize - 512, set("align", "2039GiB"), "2040 GiB"},
		{512, formats.CreateOptions{Level: 1}, "level 1"},
		{512, set("subformat", "sparse"), "dynamic or fixed"},
		{512, set("cluster_size", "4096"), "known are subformat, align"},
		{512, set("align", "0"), "align"},
		{512, set("align", ""), "align"},
		{512, set("align", "M"), "align"},
		{512, set("align", "1000"), "align"},
		{512, set("align", "-1M"), "align"},
		{512, set("align", "1T"), "align"},
		{512, set("align", "1Mi"), "align"},
		{512, set("align", "9999999999G"), "align"},
		{512, set("align", "2041G"), "align"},
	} {
		_, err := Driver{}.Create(c.size, c.opts)
		if err == nil || !strings.HasPrefix(err.Error(), "vhd: ") || !strings.Contains(err.Error(), c.words) {
			t.Errorf("Create(%d, %+v) = %v, want %q", c.size, c.opts, err, c.words)
		}
	}
}

func TestCreateTakesTheNearestTimestamp(t *testing.T) {
	for timestamp, want := range map[int64]string{
		-1: "2000-01-01T00:00:00Z", 0: "2000-01-01T00:00:00Z", epoch + 61: "2000-01-01T00:01:01Z", math.MaxInt64: "2136-02-07T06:28:15Z",
	} {
		e, err := Driver{}.Create(512, formats.CreateOptions{Timestamp: timestamp})
		if err != nil {
			t.Fatal(err)
		}
		var dst formattest.Memory
		if err := e.Finish(t.Context(), &dst); err != nil {
			t.Fatal(err)
		}
		if details := openImage(t, dst.B).Info().Details; !slices.Contains(details, formats.Detail{Key: "timestamp", Value: want}) {
			t.Errorf("timestamp %d is recorded as %v, want %s", timestamp, details, want)
		}
	}
}

func TestEncoderRefusesMisuse(t *testing.T) {
	for _, set := range []map[string]string{nil, fixedSet} {
		e := newEncoder(t, 16<<20, set)
		n := e.ClusterSize()
		for _, c := range []struct{ n, ci int64 }{{n, 16 << 20 / n}, {n, -1}, {512, 0}} {
			if _, err := e.Encode(nil, make([]byte, c.n), c.ci); err == nil {
				t.Errorf("Encode of %d bytes for cluster %d was accepted", c.n, c.ci)
			}
		}
	}
	e := newEncoder(t, 16<<20, nil)
	const chunk = 512 + newBlockSize
	if _, err := e.Place(3, chunk); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		ci int64
		n  int
	}{{3, chunk}, {2, chunk}, {-1, chunk}, {8, chunk}, {4, chunk - 1}} {
		if _, err := e.Place(c.ci, c.n); err == nil {
			t.Errorf("Place(%d, %d) was accepted", c.ci, c.n)
		}
	}
}

func TestFinishTellsOfEveryFailedWrite(t *testing.T) {
	for ops, set := range map[int]map[string]string{5: nil, 2: fixedSet} {
		e := newEncoder(t, 16<<20, set)
		for left := range ops {
			if err := e.Finish(t.Context(), &formattest.Failing{Left: left}); !errors.Is(err, formattest.ErrFull) {
				t.Errorf("operation %d failed and Finish = %v", left, err)
			}
		}
		if err := e.Finish(t.Context(), &formattest.Failing{Left: ops}); err != nil {
			t.Errorf("%d operations are not enough: %v", ops, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Finish(ctx, &formattest.Memory{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled Finish = %v", err)
		}
	}
}
