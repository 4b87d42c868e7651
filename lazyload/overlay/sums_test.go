package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// flips is how many bits a test flips; the environment may say another number.
func flips(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("IMSFS_FLIPS")); err == nil {
		return n
	}
	return usual
}

// killed is what a kill of the process leaves: all that was written, while the kernel runs on.
func killed(f Files) Files {
	copied := func(f File) File {
		m := newMemory()
		m.bytes = bytes.Clone(f.(*memory).bytes)
		return m
	}
	return Files{Name: f.Name, Data: copied(f.Data), Bitmap: copied(f.Bitmap), Sums: copied(f.Sums), Boot: f.Boot}
}

// TestKilled: a process that dies loses nothing that was acknowledged, flushed or not.
func TestKilled(t *testing.T) {
	r := seed(t)
	for round := range 60 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			x := newExerciser(t, r, newFlat(r, 1<<20+512), 1<<20+512, 2<<20, newFiles)
			for range 4 {
				for range r.IntN(80) {
					x.step()
				}
				for i := range x.files {
					x.files[i] = killed(x.files[i])
				}
				x.open()
				x.compare(0, int64(len(x.want)))
			}
		})
	}
}

// TestFlippedBit flips one bit of any file: what is read is right, or an error.
func TestFlippedBit(t *testing.T) {
	r := seed(t)
	const size = 1<<20 + 512
	for _, state := range []string{"closed", "killed", "killed before a flush"} {
		t.Run(state, func(t *testing.T) {
			x := newExerciser(t, r, newFlat(r, size), size, size, newFiles)
			told := 0
			for i := range flips(70) {
				if i%20 == 0 {
					x = newExerciser(t, r, newFlat(r, size), size, size, newFiles)
					for range 40 {
						x.write()
					}
					switch state {
					case "closed":
						must(t, x.disk.Close())
					case "killed":
						must(t, x.disk.Flush())
					}
				}
				f := killed(x.files[0])
				kinds := 3
				if state == "killed before a flush" { // a unit that was written in part has no sum yet
					kinds = 2
				}
				where := flipOne(r, f, kinds)
				if x.flipped(f, where) {
					told++
				}
			}
			t.Logf("%d were told", told)
		})
	}
}

func (x *exerciser) write() {
	off, n := x.place()
	if x.r.IntN(5) == 0 {
		must(x.t, x.disk.Zero(x.t.Context(), off, n))
		clear(x.want[off:][:n])
		return
	}
	random(x.r, x.want[off:][:n])
	_, err := x.disk.WriteAt(x.t.Context(), x.want[off:][:n], off)
	must(x.t, err)
}

// flipOne flips a bit of the bitmap, of the sums or, of 3 kinds, of the data.
func flipOne(r *rand.Rand, f Files, kinds int) string {
	name, m := "data", f.Data.(*memory)
	switch r.IntN(kinds) {
	case 0:
		name, m = "bitmap", f.Bitmap.(*memory)
	case 1:
		name, m = "sums", f.Sums.(*memory)
	}
	at, bit := r.IntN(len(m.bytes)), r.IntN(8)
	if name != "data" && r.IntN(2) == 0 { // most of these is zeros
		for m.bytes[at] == 0 {
			at = r.IntN(len(m.bytes))
		}
	}
	m.bytes[at] ^= 1 << bit
	return fmt.Sprintf("bit %d of byte %d of the %s", bit, at, name)
}

// flipped opens files with a flipped bit, and reports whether the damage was told.
func (x *exerciser) flipped(f Files, where string) (told bool) {
	x.t.Helper()
	d, err := Open([]Files{f}, x.base, false)
	var damage *DamagedError
	if errors.As(err, &damage) {
		told = true
		d, err = Open([]Files{f}, x.base, true)
	}
	if err != nil {
		return true
	}
	for u := int64(0); u < units(d.Size()); u++ {
		got := make([]byte, min(Unit, d.Size()-u*Unit))
		if _, err := d.ReadAt(x.t.Context(), got, u*Unit); err != nil {
			told = true
		} else if !bytes.Equal(got, x.want[u*Unit:][:len(got)]) {
			x.t.Errorf("%s: unit %d has wrong bytes (%v)", where, u, d.Damage())
		}
	}
	must(x.t, d.Close())
	return told
}

// TestBareDelta: a delta of an older imsfs gets sums for what is written from now on, and keeps the rest.
func TestBareDelta(t *testing.T) {
	r := seed(t)
	const size = 1 << 20
	x := newExerciser(t, r, nil, size, size, bareFiles)
	for range 30 {
		x.write()
	}
	must(t, x.disk.Close())
	x.files[0].Sums, x.files[0].Boot = newMemory(), "1"
	for range 3 {
		x.open()
		x.compare(0, size)
		for range 10 {
			x.write()
		}
		x.files[0] = killed(x.files[0])
	}
	x.open()
	x.compare(0, size)
}

// TestNoRoomForSums: a write that has no room for its checksums fails, and what was there stays.
func TestNoRoomForSums(t *testing.T) {
	x := newExerciser(t, seed(t), nil, 1<<20, 1<<20, newFiles)
	x.files[0].Sums.(*memory).room = 0
	if _, err := x.disk.WriteAt(t.Context(), make([]byte, Unit), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write: %v", err)
	}
	x.files[0].Sums.(*memory).room = -1
	x.compare(0, 1<<20)
	x.write()
	x.compare(0, 1<<20)
}

// TestFileCut: a file that somebody cuts is an error, not the end of the process.
func TestFileCut(t *testing.T) {
	dir, err := OpenDir(t.TempDir())
	must(t, err)
	must(t, dir.Create(1, 1<<30, 1<<30))
	f, err := dir.Open(1)
	must(t, err)
	d, err := Open([]Files{f}, nil, false)
	must(t, err)
	_, err = d.WriteAt(t.Context(), make([]byte, Unit), 900<<20)
	must(t, err)
	must(t, os.Truncate(dir.file(1, sumsSuffix), sumsHead))
	if _, err := d.ReadAt(t.Context(), make([]byte, Unit), 900<<20); err == nil {
		t.Error("a read without checksums")
	}
	if _, err := d.WriteAt(t.Context(), make([]byte, Unit), 900<<20); err == nil {
		t.Error("a write without checksums")
	}
	must(t, d.Close())
}

// TestVerify finds the one unit that was changed behind the disk's back.
func TestVerify(t *testing.T) {
	x := newExerciser(t, seed(t), nil, 1<<20, 1<<20, newFiles)
	_, err := x.disk.WriteAt(t.Context(), make([]byte, 40*Unit), 0)
	must(t, err)
	must(t, x.disk.Flush())
	x.files[0].Data.(*memory).bytes[7*Unit+5] ^= 8
	var found []error
	v, err := x.disk.Verify(t.Context(), nil, func(err error) { found = append(found, err) })
	must(t, err)
	if v != (Verified{Units: 40, Broken: 1}) || len(found) != 1 {
		t.Errorf("%+v, %v", v, found)
	}
}

// TestFloor: writes to new units stop before the file system is full; those to units that are there go on.
func TestFloor(t *testing.T) {
	f := newFiles()
	left := int64(3 * Unit)
	f.Free, f.Floor = func() (int64, error) { return left, nil }, 2*Unit
	must(t, Create(f, 1<<20, 1<<20))
	d, err := Open([]Files{f}, nil, false)
	must(t, err)
	_, err = d.WriteAt(t.Context(), make([]byte, Unit), 0)
	must(t, err)
	left -= Unit
	if _, err := d.WriteAt(t.Context(), make([]byte, Unit), 8*Unit); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a write below the floor: %v", err)
	}
	_, err = d.WriteAt(t.Context(), []byte("again"), 5)
	must(t, err)
	must(t, d.Close())
}
