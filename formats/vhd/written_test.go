package vhd

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/formats/formattest"
	"github.com/imsfs/imsfs/formats/raw"
)

// convertTo converts a disk of which only the parts exist to a file, through the pipeline.
func convertTo(t *testing.T, path string, disk formattest.Disk, set map[string]string) {
	t.Helper()
	img, err := formats.Set{Drivers: []formats.Driver{raw.Driver{}}}.Open(t.Context(), sparse{formattest.Sparse(disk), disk}, "raw", formats.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dst, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dst.Close()
	if err := convert.Run(t.Context(), img, newEncoder(t, disk.Bytes, set), dst, convert.Config{}); err != nil {
		t.Fatal(err)
	}
}

// sparse is a source that knows that it is a hole but for its parts.
type sparse struct {
	formattest.Sparse
	disk formattest.Disk
}

func (s sparse) Allocated() int64 { return 0 }

func (s sparse) Hole(_ context.Context, off, n int64) (bool, int64, error) {
	for _, p := range s.disk.Parts {
		if off < p.Off {
			return true, min(n, p.Off-off), nil
		}
		if off < p.End() {
			return false, min(n, p.End()-off), nil
		}
	}
	return true, n, nil
}

func TestWrittenImagesAgainstQemu(t *testing.T) {
	dir := t.TempDir()
	end := int64(130) << 30
	disks := map[string]formattest.Disk{
		"sector": {Bytes: 512, Parts: []formattest.Part{{Data: formattest.Pattern(0, 512)}}},
		"empty":  {Bytes: 5 << 20},
		"odd":    odd(),
		"full":   formattest.Flat(formattest.Pattern(0, 6<<20)),
	}
	for name, disk := range disks {
		for _, set := range []map[string]string{nil, fixedSet} {
			path := filepath.Join(dir, name+set["subformat"])
			convertTo(t, path, disk, set)
			wantAsQemu(t, path)
		}
	}
	path := filepath.Join(dir, "large")
	large := formattest.Disk{Bytes: end, Parts: []formattest.Part{{Off: 70 << 30, Data: formattest.Pattern(70<<30, 4096)}, {Off: end - 512, Data: formattest.Pattern(end-512, 512)}}}
	convertTo(t, path, large, nil)
	img := openFile(t, path)
	wantMap(t, img, path)
	for _, p := range large.Parts {
		run(t, "qemu-io", "-r", "-f", "vpc", "-c", fmt.Sprintf("read %d 512", p.Off), path)
		got := make([]byte, len(p.Data))
		if err := img.ReadAt(t.Context(), got, p.Off); err != nil || !bytes.Equal(got, p.Data) {
			t.Errorf("the bytes at %d are wrong, or %v", p.Off, err)
		}
	}
}

// TestLargestDisks writes the largest disk, empty and with a block in its last place: it takes time and memory by its table.
func TestLargestDisks(t *testing.T) {
	begun := time.Now()
	path := filepath.Join(t.TempDir(), "a.vhd")
	convertTo(t, path, formattest.Disk{Bytes: maxSize, Parts: []formattest.Part{{Off: maxSize - 512, Data: formattest.Pattern(maxSize-512, 512)}}}, nil)
	if d := time.Since(begun); d > time.Minute { // reading it would take longer
		t.Errorf("it took %v", d)
	}
	p := make([]byte, 512)
	if err := openFile(t, path).ReadAt(t.Context(), p, maxSize-512); err != nil || !bytes.Equal(p, formattest.Pattern(maxSize-512, 512)) {
		t.Errorf("the last sector is wrong, or %v", err)
	}
	e := newEncoder(t, maxSize, nil)
	var off int64
	for ci := range int64(maxSize / newBlockSize) {
		next, err := e.Place(ci, 512+newBlockSize)
		if err != nil || next < off+512+newBlockSize && ci > 0 || (next+512)%pageAlign != 0 || next/512 >= unused {
			t.Fatalf("block %d is placed at %d after %d, %v", ci, next, off, err)
		}
		off = next
	}
}
