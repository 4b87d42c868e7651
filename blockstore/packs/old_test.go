package packs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// For every version of the store's layout, testdata has an archive of a store directory. All later
// versions must read it. makeOld writes the archive of this version, and does not overwrite one.
var makeOld = flag.Bool("make-old", false, "write the archive of this version to testdata")

func oldStore(version int) string { return fmt.Sprintf("testdata/store-%d.tar.gz", version) }

// The archived store has three disks. Disk 3 has blocks 1 to 7 in its middle and zeros elsewhere.
// Disk 4 is a clone with one more block. Disk 5 has one loaded block.
const (
	oldSize = blockstore.SegmentSize + 3*blockstore.BlockSize + 512
)

func fillOld(t *testing.T, s *subject) {
	must(t, s.Create(3, oldSize, "three"))
	must(t, s.Zero(t.Context(), 3, 0, oldSize))
	must(t, s.Save(t.Context(), 3, 100*blockstore.BlockSize, storetest.Blocks(1, 3, 5, 7)))
	must(t, s.Clone(3, 4, oldSize, "three"))
	must(t, s.Save(t.Context(), 4, 0, storetest.Block(9)))
	must(t, s.Create(5, oldSize, ""))
	must(t, s.Save(t.Context(), 5, 0, storetest.Block(11)))
}

func TestMakeOldStore(t *testing.T) {
	if !*makeOld {
		t.Skip("only with -make-old")
	}
	s := openIn(t, t.TempDir(), Options{})
	fillOld(t, s)
	s.close(t)
	f, err := os.OpenFile(oldStore(version), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	must(t, err)
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	must(t, w.AddFS(os.DirFS(s.dir)))
	must(t, errors.Join(w.Close(), z.Close(), f.Close()))
}

// unpack extracts the archived store into a new directory.
func unpack(t *testing.T, path string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	must(t, err)
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		must(t, err)
		name := filepath.Join(dir, h.Name)
		must(t, os.MkdirAll(filepath.Dir(name), 0o700))
		if h.Typeflag != tar.TypeReg {
			continue
		}
		b, err := io.ReadAll(r)
		must(t, errors.Join(err, os.WriteFile(name, b, 0o600)))
	}
}

func TestOldStore(t *testing.T) {
	for v := 1; v <= version; v++ {
		t.Run(fmt.Sprintf("version %d", v), func(t *testing.T) { testOldStore(t, v) })
	}
}

// testOldStore opens a store of an older layout, uses it, moves its records, and rebuilds it.
func testOldStore(t *testing.T, v int) {
	plain := make([]byte, oldSize)
	copy(plain[100*blockstore.BlockSize:], storetest.Blocks(1, 3, 5, 7))
	three, err := blockstore.DigestPlain(t.Context(), storetest.Flat(plain), nil)
	must(t, err)
	copy(plain, storetest.Block(9))
	four, err := blockstore.DigestPlain(t.Context(), storetest.Flat(plain), nil)
	must(t, err)

	s := openIn(t, unpack(t, oldStore(v)), Options{})
	check := func() {
		t.Helper()
		for disk, want := range map[uint64]blockstore.Digest{3: three, 4: four} {
			if got, err := s.Digest(disk); err != nil || got != want {
				t.Errorf("digest of disk %d: %s, %v, want %s", disk, got, err, want)
			}
		}
		if found := verify(t, s); len(found) > 0 {
			t.Error(found)
		}
	}
	check()
	if st, err := s.Status(5); err != nil || st.Loaded != 1 || st.Size != oldSize {
		t.Errorf("Status(5) = %+v, %v", st, err)
	}
	if st := stats(t, s); st.Blocks != 6 || st.Disks != 3 {
		t.Errorf("%+v: want 6 blocks and 3 disks", st)
	}
	must(t, s.Save(t.Context(), 5, blockstore.BlockSize, storetest.Block(13)))
	if last := s.tail.pack; (last == 1) != (v == version) {
		t.Errorf("a new block went to pack %d: an older program would not know it in one of its packs", last)
	}
	entries, err := s.inPack(1)
	must(t, err)
	must(t, s.move(entries))
	check()
	must(t, s.Read(t.Context(), blockstore.IDOf(storetest.Block(3)), plain[:20000], 30000))
	if !bytes.Equal(plain[:20000], storetest.Block(3)[30000:50000]) {
		t.Error("a part of an old block reads wrong")
	}
	s, _ = loseDatabase(t, s)
	check()
}
