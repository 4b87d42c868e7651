package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
)

// TestPowerCut drops what was not synced, in any part, and tears the bitmap's writes: what was flushed is there, and each unit is as
// it was at some time since.
func TestPowerCut(t *testing.T) {
	r := seed(t)
	rounds := 300
	if testing.Short() {
		rounds = 50
	}
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) { cutOnce(t, r) })
	}
}

func cutOnce(t *testing.T, r *rand.Rand) {
	const size = 256<<10 + 512
	base := newFlat(r, size)
	x := newExerciser(t, r, base, size, size, newFiles)
	// What each unit may be.
	may := make([][][]byte, units(size))
	unit := func(u int64) []byte { return bytes.Clone(x.want[u*Unit : min((u+1)*Unit, size)]) }
	settle := func() {
		for u := range may {
			may[u] = [][]byte{unit(int64(u))}
		}
	}
	settle()
	for life := range 3 {
		for range r.IntN(60) {
			off, n := x.place()
			n = min(n, 3*Unit)
			switch r.IntN(5) {
			case 0:
				must(t, x.disk.Flush())
				settle()
				continue
			case 1:
				must(t, x.disk.Zero(t.Context(), off, n))
				clear(x.want[off:][:n])
			default:
				random(r, x.want[off:][:n])
				_, err := x.disk.WriteAt(t.Context(), x.want[off:][:n], off)
				must(t, err)
			}
			for u := off / Unit; u*Unit < off+n; u++ {
				may[u] = append(may[u], unit(u))
			}
		}
		f := x.files[0]
		x.files[0] = cutFiles(f, r)
		x.open()
		for u := range may {
			got := make([]byte, len(may[u][0]))
			_, err := x.disk.ReadAt(t.Context(), got, int64(u)*Unit)
			must(t, err)
			if !contains(may[u], got) {
				t.Fatalf("life %d: unit %d is none of the %d it was", life, u, len(may[u]))
			}
			copy(x.want[u*Unit:], got)
		}
		settle()
	}
}

func contains(versions [][]byte, p []byte) bool {
	for _, v := range versions {
		if bytes.Equal(v, p) {
			return true
		}
	}
	return false
}

// TestFullDisk: who writes is told, and what was flushed stays.
func TestFullDisk(t *testing.T) {
	r := seed(t)
	const size = 1 << 20
	x := newExerciser(t, r, newFlat(r, size), size, size, newFiles)
	random(r, x.want[:100<<10])
	_, err := x.disk.WriteAt(t.Context(), x.want[:100<<10], 0)
	must(t, err)
	must(t, x.disk.Flush())

	x.files[0].Data.(*memory).room = 0
	p := make([]byte, 3*Unit)
	random(r, p)
	if _, err := x.disk.WriteAt(t.Context(), p, 200<<10); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write to a full disk: %v", err)
	}
	x.compare(0, size)
	x.files[0].Data.(*memory).room = -1
	copy(x.want[200<<10:], p)
	_, err = x.disk.WriteAt(t.Context(), p, 200<<10)
	must(t, err)

	x.files[0].Bitmap.(*memory).room = 0
	if err := x.disk.Flush(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a flush to a full disk: %v", err)
	}
	x.files[0].Bitmap.(*memory).room = -1
	must(t, x.disk.Flush())
	x.open()
	x.compare(0, size)
}

// TestFailedSync: a kernel that has lost writes says so once, so the disk remembers it.
func TestFailedSync(t *testing.T) {
	x := newExerciser(t, seed(t), nil, 1<<20, 1<<20, newFiles)
	_, err := x.disk.WriteAt(t.Context(), make([]byte, Unit), 0)
	must(t, err)
	x.files[0].Data.(*memory).bad = syscall.EIO
	if err := x.disk.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a flush: %v", err)
	}
	x.files[0].Data.(*memory).bad = nil
	if err := x.disk.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the next flush: %v", err)
	}
	if _, err := x.disk.WriteAt(t.Context(), make([]byte, Unit), 0); !errors.Is(err, syscall.EIO) {
		t.Errorf("a write: %v", err)
	}
}

// TestOnePwrite: an overwrite of a whole unit is one write and allocates nothing; the first write of a unit costs two on the host.
func TestOnePwrite(t *testing.T) {
	x := newExerciser(t, seed(t), nil, 1<<20, 1<<20, newFiles)
	p := make([]byte, Unit)
	write := func() {
		if _, err := x.disk.WriteAt(t.Context(), p, 8*Unit); err != nil {
			t.Fatal(err)
		}
	}
	write()
	data, bitmap := x.files[0].Data.(*memory), x.files[0].Bitmap.(*memory)
	data.ops, bitmap.ops = 0, 0
	write()
	if data.ops != 1 || bitmap.ops != 0 {
		t.Errorf("%d writes of data and %d of the bitmap, want one of data", data.ops, bitmap.ops)
	}
}
