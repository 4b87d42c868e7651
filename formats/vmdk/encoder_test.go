package vmdk

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func TestCreateRefuses(t *testing.T) {
	set := func(kv ...string) formats.CreateOptions {
		return formats.CreateOptions{Set: map[string]string{kv[0]: kv[1]}}
	}
	for name, c := range map[string]struct {
		size  int64
		opts  formats.CreateOptions
		words []string
	}{
		"nothing":              {0, formats.CreateOptions{}, []string{"multiple of 512"}},
		"half a sector":        {513, formats.CreateOptions{}, []string{"multiple of 512"}},
		"too much":             {62<<40 + 512, formats.CreateOptions{}, []string{"62 TiB"}},
		"an unknown option":    {512, set("colour", "red"), []string{"colour", "subformat, adapter_type, hwversion"}},
		"an unknown subformat": {512, set("subformat", "vmfs"), []string{`subformat="vmfs"`, "monolithicSparse, streamOptimized"}},
		"no subformat":         {512, set("subformat", ""), []string{"monolithicSparse"}},
		"an unknown adapter":   {512, set("adapter_type", "nvme"), []string{`adapter_type="nvme"`, "legacyESX"}},
		"a version in words":   {512, set("hwversion", "4\"\nRW 1"), []string{"hwversion", "must be a number"}},
		"a level of nothing":   {512, formats.CreateOptions{Level: 6}, []string{"level 6", "streamOptimized"}},
		"level 10":             {512, formats.CreateOptions{Level: 10, Set: map[string]string{"subformat": streamOptimized}}, []string{"level 10", "1 to 9"}},
	} {
		_, err := New().Create(c.size, c.opts)
		if err == nil {
			t.Errorf("%s was accepted", name)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not say %q", name, err, w)
			}
		}
	}
}

func TestEncodersRefuseWhatIsNoGrain(t *testing.T) {
	for _, subformat := range subformats() {
		e, err := New().Create(10*grainBytes, options(subformat))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ n, g int64 }{{grainBytes - 1, 0}, {grainBytes, -1}, {grainBytes, 10}} {
			if _, err := e.Encode(nil, make([]byte, c.n), c.g); err == nil {
				t.Errorf("%s: %d bytes for grain %d were encoded", subformat, c.n, c.g)
			}
		}
		if _, err := e.Place(3, grainBytes); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			g int64
			n int
		}{{3, grainBytes}, {2, grainBytes}, {10, grainBytes}, {4, 0}, {4, 100}, {4, 3 * grainBytes}} {
			if _, err := e.Place(c.g, c.n); err == nil {
				t.Errorf("%s: %d bytes for grain %d were placed", subformat, c.n, c.g)
			}
		}
	}
}

// TestSectorNumbersEnd places grains until the format has no numbers left.
func TestSectorNumbersEnd(t *testing.T) {
	for _, subformat := range subformats() {
		e, err := New().Create(3<<40, options(subformat))
		if err != nil {
			t.Fatal(err)
		}
		w := map[string]func() *written{
			monolithicSparse: func() *written { return &e.(*sparseEncoder).written }, streamOptimized: func() *written { return &e.(*streamEncoder).written },
		}[subformat]()
		w.end = 1<<32 - grainSectors - 1
		if off, err := e.Place(0, grainBytes); err != nil || off != (1<<32-grainSectors-1)*sector {
			t.Errorf("%s: the last grain is at %#x: %v", subformat, off, err)
		}
		if _, err := e.Place(1, grainBytes); err == nil || !strings.Contains(err.Error(), "2 TiB") {
			t.Errorf("%s: a grain after the last number: %v", subformat, err)
		}
		if err := e.Finish(t.Context(), new(parts)); (err == nil) != (subformat == monolithicSparse) {
			t.Errorf("%s: Finish = %v", subformat, err)
		}
	}
}

func TestEncodeIsDeterministicOnManyGoroutines(t *testing.T) {
	e, err := New().Create(1<<20, options(streamOptimized))
	if err != nil {
		t.Fatal(err)
	}
	plain := formattest.Prose(grainBytes)
	want, err := e.Encode(nil, plain, 7)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			dst := make([]byte, 100, 100<<10)
			for range 5 {
				if got, err := e.Encode(dst, plain, 7); err != nil || !bytes.Equal(got, want) {
					t.Errorf("another chunk, or %v", err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFinishTellsOfEveryFailedWrite(t *testing.T) {
	for subformat, n := range map[string]int{monolithicSparse: 6, streamOptimized: 6} {
		e, err := New().Create(1<<20, options(subformat))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Place(0, grainBytes); err != nil {
			t.Fatal(err)
		}
		for left := range n {
			if err := e.Finish(t.Context(), &formattest.Failing{Left: left}); !errors.Is(err, formattest.ErrFull) {
				t.Errorf("%s: operation %d failed and Finish = %v", subformat, left, err)
			}
		}
		if err := e.Finish(t.Context(), &formattest.Failing{Left: n}); err != nil {
			t.Errorf("%s: %d operations are not enough: %v", subformat, n, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := e.Finish(ctx, new(parts)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: cancelled Finish = %v", subformat, err)
		}
	}
}
