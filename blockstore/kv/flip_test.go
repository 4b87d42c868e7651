package kv

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// flips returns the number of bits that a test flips. The environment can change it.
func flips(usual int) int {
	if n, err := strconv.Atoi(os.Getenv("IMSFS_FLIPS")); err == nil {
		return n
	}
	return usual
}

// TestFlippedBit flips one bit in any file of a store and opens it. Open must return an error, or
// the store must hold all acknowledged records.
func TestFlippedBit(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for _, c := range []struct {
		name    string
		records int
		closed  bool
	}{{"closed", 40, true}, {"killed", 40, false}, {"killed after tables were written", 1200, false}} {
		t.Run(c.name, func(t *testing.T) {
			dir, want := t.TempDir(), map[string]bool{}
			db := mustOpen(t, dir)
			for i := range c.records {
				key, value := fmt.Sprintf("k/%04d", i), strings.Repeat(strconv.Itoa(i), 400)
				set(t, db, key, value)
				want[key+"="+value] = true
			}
			if c.closed {
				mustClose(t, db)
			} else {
				defer mustClose(t, db)
			}
			refused := 0
			for range flips(15) {
				copied := copyStore(t, dir)
				where := flipOne(t, rnd, copied)
				db, err := Open(copied, Options{})
				if err != nil {
					refused++
					continue
				}
				have := map[string]bool{}
				for _, record := range dump(t, db, "") {
					have[record] = true
				}
				if len(have) != len(want) {
					t.Errorf("seed %d, %s: %d records of %d are there, and nothing was said", seed, where, len(have), len(want))
				}
				for record := range have {
					if !want[record] {
						t.Errorf("seed %d, %s: a record that nobody wrote", seed, where)
					}
				}
				mustClose(t, db)
			}
			t.Logf("%d were refused", refused)
		})
	}
}

// copyStore copies a store as a kill would leave it, without the reserve.
func copyStore(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.Mkdir(filepath.Join(to, dbDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*", dbDir + "/*"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if st, err := os.Stat(path); err != nil || st.IsDir() || st.Name() == reserveFile {
				continue
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, path)
			writeSparse(t, filepath.Join(to, rel), b)
		}
	}
	return to
}

// writeSparse writes a file without the zeros at its end.
func writeSparse(t *testing.T, path string, b []byte) {
	t.Helper()
	write(t, path, string(bytes.TrimRight(b, "\x00")))
	if err := os.Truncate(path, int64(len(b))); err != nil {
		t.Fatal(err)
	}
}

// flipOne flips a bit of one file: half the time among the bytes that are not zeros at the end.
func flipOne(t *testing.T, rnd *rand.Rand, dir string) string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{sealFile, witnessFile, markerFile, dbDir + "/*", dbDir + "/*.mem", dbDir + "/*.mem", dbDir + "/*.mem"} {
		more, _ := filepath.Glob(filepath.Join(dir, pattern))
		paths = append(paths, more...)
	}
	path := paths[rnd.IntN(len(paths))]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size := len(b)
	if rnd.IntN(8) > 0 {
		size = len(bytes.TrimRight(b, "\x00"))
	}
	if size == 0 {
		return path + ", which is empty"
	}
	at, bit := rnd.IntN(size), rnd.IntN(8)
	b[at] ^= 1 << bit
	writeSparse(t, path, b)
	return fmt.Sprintf("bit %d of byte %d of %s (%d bytes)", bit, at, filepath.Base(path), len(b))
}

// TestLogEnds distinguishes the traces of a kill at the end of a log from damage.
func TestLogEnds(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	defer mustClose(t, db)
	for i := range 5 {
		set(t, db, fmt.Sprintf("k/%d", i), "value")
	}
	logs, err := logFiles(filepath.Join(dir, dbDir))
	if err != nil || len(logs) == 0 {
		t.Fatalf("logs: %v, %v", logs, err)
	}
	whole, err := os.ReadFile(logs[len(logs)-1])
	if err != nil {
		t.Fatal(err)
	}
	r, err := readLog(whole)
	if err != nil || r.first == 0 || r.last < r.first+4 {
		t.Fatalf("the log has transactions %d to %d, %v", r.first, r.last, err)
	}
	t.Run("a transaction that is cut off is none", func(t *testing.T) {
		cut := bytes.Clone(whole)
		clear(cut[r.end-3:])
		got, err := readLog(cut)
		if err != nil || got.last != r.last-1 || lostAfter(cut[got.end:]) {
			t.Errorf("it ends with %d, %v, lost: %v", got.last, err, lostAfter(cut[got.end:]))
		}
	})
	t.Run("transactions after a bad byte are lost", func(t *testing.T) {
		bad := bytes.Clone(whole)
		bad[bytes.Index(bad, []byte("k/1"))] ^= 4
		got, err := readLog(bad)
		if err != nil || got.last >= r.last || !lostAfter(bad[got.end:]) {
			t.Errorf("it ends with %d, %v, lost: %v", got.last, err, lostAfter(bad[got.end:]))
		}
	})
}

// TestGoesOnWithout removes the witness, as an operator may. The readable records must be there.
func TestGoesOnWithout(t *testing.T) {
	dir := t.TempDir()
	db := mustOpen(t, dir)
	defer mustClose(t, db)
	for i := range 9 {
		set(t, db, fmt.Sprintf("k/%d", i), "value")
	}
	copied := copyStore(t, dir)
	logs, _ := logFiles(filepath.Join(copied, dbDir))
	b, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	b[bytes.Index(b, []byte("k/5"))] ^= 1
	writeSparse(t, logs[0], b)
	mustRefuse(t, copied, ErrDamaged, "store rebuild", witnessFile)
	if err := os.Remove(filepath.Join(copied, witnessFile)); err != nil {
		t.Fatal(err)
	}
	rest := mustOpen(t, copied)
	defer mustClose(t, rest)
	if n := len(dump(t, rest, "k/")); n != 5 {
		t.Errorf("%d records are left, want those before the damage: 5", n)
	}
}

// TestCutReset interrupts a reset. It must never leave an empty store.
func TestCutReset(t *testing.T) {
	dir := filled(t)
	if err := os.RemoveAll(filepath.Join(dir, dbDir)); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(dir, sealFile))
	if err := makeFresh(dir, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, newDir), filepath.Join(dir, makingDir)); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, dir, ErrDamaged, "missing", "store rebuild")
}
