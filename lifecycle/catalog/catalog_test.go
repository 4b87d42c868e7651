package catalog

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/blockstore/kv"
)

// notes is Notes in memory.
type notes struct {
	texts map[uint64]string
	err   error // of every PutNote, if not nil
}

func (n *notes) PutNote(volume uint64, text []byte) error {
	if n.err != nil {
		return n.err
	}
	n.texts[volume] = string(text)
	return nil
}

func (n *notes) RemoveNote(volume uint64) error { delete(n.texts, volume); return nil }

// world is a catalog with its database.
type world struct {
	*Catalog
	t     testing.TB
	db    *kv.DB
	kept  *notes
	model map[string]string // "image NAME" or "volume NAME" to number and size
}

func newWorld(t testing.TB) *world {
	t.Helper()
	db, err := kv.Open(t.TempDir(), kv.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := &world{t: t, db: db, kept: &notes{texts: map[uint64]string{}}, model: map[string]string{}}
	w.open()
	return w
}

func (w *world) open() {
	w.t.Helper()
	c, err := Open(w.t.Context(), w.db, w.kept)
	if err != nil {
		w.t.Fatal(err)
	}
	w.Catalog = c
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) next() uint64 {
	w.t.Helper()
	id, err := w.Next()
	w.must(err)
	return id
}

// image adds an active image.
func (w *world) image(name string) Image {
	w.t.Helper()
	rec := Image{ID: w.next(), Name: name, State: Active}
	w.must(w.Update(func(tx *Tx) error { return tx.AddImage(rec) }))
	return rec
}

// volume adds a volume over an image.
func (w *world) volume(name string, over Image) Volume {
	w.t.Helper()
	base := over.Base()
	rec := Volume{ID: w.next(), Name: name, Size: 512, Base: &base, Deltas: []uint64{w.next()}}
	w.must(w.Update(func(tx *Tx) error { return tx.AddVolume(rec) }))
	return rec
}

// seen is what look-ups by every way find.
func (w *world) seen() map[string]string {
	w.t.Helper()
	found := map[string]string{}
	var names []string
	for _, id := range w.Images() {
		rec, ok := w.Image(id)
		named, also := w.ImageNamed(rec.Name)
		if !ok || !also || named.ID != id {
			w.t.Errorf("image %d %q: by number %v, by name %v, %d", id, rec.Name, ok, also, named.ID)
		}
		found["image "+rec.Name] = fmt.Sprint(id, rec.Size)
		names = append(names, rec.Name)
	}
	if !slices.IsSorted(names) {
		w.t.Errorf("images %q are not in order", names)
	}
	for _, id := range w.Volumes() {
		rec, ok := w.Volume(id)
		named, also := w.VolumeNamed(rec.Name)
		if !ok || !also || named.ID != id {
			w.t.Errorf("volume %d %q: by number %v, by name %v, %d", id, rec.Name, ok, also, named.ID)
		}
		found["volume "+rec.Name] = fmt.Sprint(id, rec.Size)
	}
	return found
}

// TestModel makes random changes and compares with a map, before and after the database is read
// again.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	w := newWorld(t)
	names := strings.Fields("ada bob cid dan eve fay")
	for range 300 {
		name, other := names[rng.IntN(len(names))], names[rng.IntN(len(names))]
		img, isThere := w.ImageNamed(name)
		_, taken := w.ImageNamed(other)
		switch op := rng.IntN(4); {
		case op == 0 && !isThere:
			w.model["image "+name] = fmt.Sprint(w.image(name).ID, 0)
		case op == 0:
			if err := w.Update(func(tx *Tx) error { return tx.AddImage(Image{ID: w.next(), Name: name, State: Active}) }); !errors.Is(err, iofs.ErrExist) {
				t.Fatalf("adding %s again: %v", name, err)
			}
		case op == 1 && isThere:
			err := w.Update(func(tx *Tx) error {
				return tx.ChangeImage(img.ID, func(rec *Image) error { rec.Name, rec.Size = other, 7; return nil })
			})
			if taken && name != other {
				if !errors.Is(err, iofs.ErrExist) {
					t.Fatalf("renaming to a taken name: %v", err)
				}
				continue
			}
			w.must(err)
			delete(w.model, "image "+name)
			w.model["image "+other] = fmt.Sprint(img.ID, 7)
		case op == 2 && isThere:
			w.must(w.Update(func(tx *Tx) error { return tx.RemoveImage(img.ID) }))
			delete(w.model, "image "+name)
			if w.Known(img.ID) {
				t.Errorf("disk %d of a removed image is known", img.ID)
			}
		case op == 3:
			w.open()
		}
		if got := w.seen(); fmt.Sprint(got) != fmt.Sprint(w.model) {
			t.Fatalf("seen %v, want %v", got, w.model)
		}
	}
}

func TestUpdate(t *testing.T) {
	t.Run("is all or nothing", func(t *testing.T) {
		w := newWorld(t)
		broken := errors.New("broken")
		err := w.Update(func(tx *Tx) error {
			if err := tx.AddImage(Image{ID: w.next(), Name: "a", State: Active}); err != nil {
				return err
			}
			return broken
		})
		if !errors.Is(err, broken) || len(w.seen()) != 0 {
			t.Errorf("Update = %v, seen %v", err, w.seen())
		}
	})
	t.Run("is refused after Close", func(t *testing.T) {
		w := newWorld(t)
		w.Close()
		if err := w.Update(func(*Tx) error { return nil }); !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("Update = %v", err)
		}
	})
	t.Run("of what was removed says so", func(t *testing.T) {
		w := newWorld(t)
		img := w.image("a")
		w.must(w.Update(func(tx *Tx) error { return tx.RemoveImage(img.ID) }))
		err := w.Update(func(tx *Tx) error { return tx.ChangeImage(img.ID, func(*Image) error { return nil }) })
		if !errors.Is(err, iofs.ErrClosed) {
			t.Errorf("Update = %v", err)
		}
	})
}

func TestVolumesOfARemovedImage(t *testing.T) {
	w := newWorld(t)
	img := w.image("web")
	v := w.volume("web-1", img)
	w.must(w.Update(func(tx *Tx) error {
		return tx.ChangeImage(img.ID, func(rec *Image) error { rec.Kept = true; return nil })
	}))
	if now, _ := w.Volume(v.ID); now.Base.Kept {
		t.Fatal("the volume learnt it too early for this test")
	}
	w.must(w.Update(func(tx *Tx) error { return tx.RemoveImage(img.ID) }))
	if now, _ := w.Volume(v.ID); !now.Base.Kept {
		t.Error("the volume does not know that its disk is complete")
	}
	if !w.Known(img.ID) {
		t.Error("the disk that the volume rests on is not known")
	}
	w.must(w.Update(func(tx *Tx) error { return tx.RemoveVolume(v.ID) }))
	if w.Known(img.ID) {
		t.Error("a disk that nothing rests on is known")
	}
}

func TestDropped(t *testing.T) {
	dropped := func(w *world) []uint64 {
		set, err := w.Dropped()
		w.must(err)
		return slices.Sorted(maps.Keys(set))
	}
	t.Run("is what no record needs any more", func(t *testing.T) {
		w := newWorld(t)
		img := w.image("web")
		v := w.volume("web-1", img)
		w.must(w.Update(func(tx *Tx) error { return tx.RemoveImage(img.ID) }))
		if got := dropped(w); len(got) != 0 {
			t.Errorf("dropped %d, which a volume rests on", got)
		}
		w.must(w.Update(func(tx *Tx) error { return tx.RemoveVolume(v.ID) }))
		if got, want := dropped(w), slices.Sorted(slices.Values(append(v.numbers(), img.ID))); !slices.Equal(got, slices.Compact(want)) {
			t.Errorf("dropped %d, want %d", got, want)
		}
		set, err := w.Dropped()
		w.must(err)
		w.must(w.ForgetDropped(set))
		if got := dropped(w); len(got) != 0 {
			t.Errorf("%d is not forgotten", got)
		}
	})
	t.Run("is a delta that a revert replaced", func(t *testing.T) {
		w := newWorld(t)
		v := w.volume("web-1", w.image("web"))
		w.must(w.Update(func(tx *Tx) error {
			return tx.ChangeVolume(v.ID, func(rec *Volume) error { rec.Deltas = []uint64{99}; return nil })
		}))
		if got := dropped(w); !slices.Equal(got, v.Deltas) {
			t.Errorf("dropped %d, want %d", got, v.Deltas)
		}
	})
	t.Run("is a number whose record never came, and no other", func(t *testing.T) {
		w := newWorld(t)
		w.must(w.Provisional(77))
		if got := dropped(w); !slices.Equal(got, []uint64{77}) {
			t.Errorf("dropped %d", got)
		}
		rec := Image{ID: 77, Name: "a", State: Active}
		w.must(w.Update(func(tx *Tx) error { return tx.AddImage(rec) }))
		w.must(w.db.Update(func(tx *kv.WriteTx) error { return tx.Delete(rec.key()) })) // the record is lost
		w.open()
		if got := dropped(w); len(got) != 0 {
			t.Errorf("the disk %d of a lost record counts as dropped", got)
		}
	})
}

func TestNotesFollowTheDatabase(t *testing.T) {
	w := newWorld(t)
	v := w.volume("web-1", w.image("web"))
	was := w.kept.texts[v.ID]
	rename := func(tx *Tx) error {
		return tx.ChangeVolume(v.ID, func(rec *Volume) error { rec.Name = "web-2"; return nil })
	}
	t.Run("a note that cannot be written refuses the change", func(t *testing.T) {
		w.kept.err = errors.New("no space")
		if err := w.Update(rename); err == nil {
			t.Error("the change was made without its note")
		}
		w.kept.err = nil
		if now, _ := w.Volume(v.ID); now.Name != "web-1" || w.kept.texts[v.ID] != was {
			t.Errorf("named %s, note %s", now.Name, w.kept.texts[v.ID])
		}
	})
	t.Run("a change that the database refuses takes its note back", func(t *testing.T) {
		w.must(w.db.Close())
		if err := w.Update(rename); err == nil {
			t.Error("the change was made without the database")
		}
		if w.kept.texts[v.ID] != was {
			t.Errorf("note %s, want %s", w.kept.texts[v.ID], was)
		}
	})
}

func TestDamagedRecordIsNamed(t *testing.T) {
	for name, rec := range map[string]Image{
		"state":     {ID: 1, Name: "a", State: "sleeping"},
		"nameless":  {ID: 1, State: Active},
		"two names": {ID: 40, Name: "good", State: Active},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.image("good")
			w.must(w.db.Update(func(tx *kv.WriteTx) error { return write(tx, change[Image]{nil, &rec}) }))
			if _, err := Open(t.Context(), w.db, nil); !errors.Is(err, kv.ErrDamaged) {
				t.Errorf("Open = %v", err)
			}
		})
	}
}

// BenchmarkOpen reads the records of 10,000 images.
func BenchmarkOpen(b *testing.B) {
	w := newWorld(b)
	for n := 0; n < 10_000; n += 100 {
		w.must(w.Update(func(tx *Tx) error {
			for k := range 100 {
				if err := tx.AddImage(Image{ID: w.next(), Name: fmt.Sprintf("image-%d", n+k), State: Active}); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	for b.Loop() {
		w.open()
	}
}
