package tables

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

// numbered is a source whose bytes tell their table.
func numbered(tables, size int) formattest.Bytes {
	b := make(formattest.Bytes, tables*size)
	for i := range b {
		b[i] = byte(i / size)
	}
	return b
}

func TestTablesAreReadOnceAndKeptWithinTheLimit(t *testing.T) {
	src := &formattest.Counting{Source: numbered(64, 512)}
	c := New(src, "test", 8*512, nil)
	for range 3 {
		for i := range int64(8) {
			b, err := c.Get(t.Context(), i*512, 512, "table")
			if err != nil || b[0] != byte(i) || b[511] != byte(i) {
				t.Fatalf("table %d: %v", i, err)
			}
		}
	}
	if n := src.Calls(); n != 8 {
		t.Errorf("%d reads of 8 tables", n)
	}
	for i := range int64(64) {
		if _, err := c.Get(t.Context(), i*512, 512, "table"); err != nil {
			t.Fatal(err)
		}
		if c.used > 8*512 || c.lru.Len() > 8 || len(c.held) != c.lru.Len() {
			t.Fatalf("%d bytes in %d tables are kept", c.used, c.lru.Len())
		}
	}
}

func TestReadersShareOneRead(t *testing.T) {
	src := &formattest.Counting{Source: numbered(1, 4096)}
	c := New(src, "test", 0, nil)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if b, err := c.Get(t.Context(), 0, 4096, "table"); err != nil || len(b) != 4096 {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := src.Calls(); n != 1 {
		t.Errorf("%d reads", n)
	}
}

func TestFailuresAreNotKept(t *testing.T) {
	broken := errors.New("the medium is broken")
	src := &formattest.Faulty{Source: numbered(2, 512), At: 1, Err: broken}
	c := New(src, "test", 0, nil)
	if _, err := c.Get(t.Context(), 0, 512, "table"); !errors.Is(err, broken) {
		t.Errorf("%v, want the source's error", err)
	}
	if b, err := c.Get(t.Context(), 0, 512, "table"); err != nil || len(b) != 512 {
		t.Errorf("the second time: %v", err)
	}
	if c.used != 512 {
		t.Errorf("%d bytes are counted for one table", c.used)
	}
}

func TestTablesThatAreWrongAreRefused(t *testing.T) {
	calls := 0
	c := New(numbered(2, 512), "test", 0, func(off int64, _ []byte) error {
		calls++
		return formats.Corrupt("test", off, "no table")
	})
	for _, off := range []int64{0, 512, 1024, 513, -1, 1 << 62} {
		if _, err := c.Get(t.Context(), off, 512, "table"); !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("table at %d: %v, want ErrCorrupt", off, err)
		}
	}
	if calls != 2 {
		t.Errorf("%d checks of the two tables within the file", calls)
	}
}

func TestACancelledReaderIsNobodyElsesFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := New(numbered(1, 512), "test", 0, nil)
	if _, err := c.Get(ctx, 0, 512, "table"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want a cancellation", err)
	}
	if _, err := c.Get(t.Context(), 0, 512, "table"); err != nil {
		t.Error(err)
	}
}
