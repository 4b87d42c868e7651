package lifecycle

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/storetest"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// shop is a registry with images and volumes beside flat bytes of what each must read as.
type shop struct {
	*house
	rng     *rand.Rand
	images  map[string][]byte
	volumes map[string]*modelVolume
	made    int
}

type modelVolume struct {
	now    []byte
	revert []byte // what a revert goes back to, without what a resize does to it
}

// volumeSteps is how many random steps the model test makes.
const volumeSteps = 400

// TestVolumesModel clones, writes, commits, reverts, resizes, renames, deletes, evicts, hydrates
// and restarts at random.
func TestVolumesModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	s := &shop{house: newVolumes(t), rng: rand.New(rand.NewPCG(seed, 0)), images: map[string][]byte{}, volumes: map[string]*modelVolume{}}
	for step := range volumeSteps {
		if err := s.step(); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
	}
	for name := range s.volumes {
		s.has(s.house.volume(name), string(s.volumes[name].now))
	}
	for name, want := range s.images {
		if err := s.checkImage(name, want); err != nil {
			t.Error(err)
		}
	}
	s.reopen()
	known := map[uint64]bool{}
	for _, img := range s.Images() {
		known[img.id] = true
	}
	for _, v := range s.Volumes() {
		for _, rec := range v.record().Bases() {
			known[rec.ID] = true
		}
	}
	disks, err := s.store.Disks()
	if err != nil || len(disks) > len(known) {
		t.Errorf("%d disks are in the store, %d are rested on; %v", len(disks), len(known), err)
	}
	s.lose()
}

// lose loses the database, and compares the volumes that have not lost what they rested on with it.
func (s *shop) lose() {
	for _, lacking := range s.loseDatabase().Lacking {
		if state := s.house.volume(lacking).usableAs(); state != catalog.Damaged {
			s.t.Errorf("%s is %s without what it rested on", lacking, state)
		}
		delete(s.volumes, lacking)
	}
	for name, m := range s.volumes {
		s.has(s.house.volume(name), string(m.now))
	}
}

func pick[V any](rng *rand.Rand, of map[string]V) string {
	var names []string
	for name := range of {
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return names[rng.IntN(len(names))]
}

func (s *shop) name(kind string) string {
	s.made++
	return fmt.Sprintf("%s-%d", kind, s.made)
}

func (s *shop) step() error {
	img, vol := pick(s.rng, s.images), pick(s.rng, s.volumes)
	n := s.rng.IntN(100)
	switch {
	case img == "" || n < 2 && len(s.images) < 6:
		return s.register()
	case vol == "" || n < 6 && len(s.volumes) < 8:
		return s.cloned(img)
	case n < 50:
		return s.change(vol)
	case n < 60:
		s.has(s.house.volume(vol), string(s.volumes[vol].now))
		return nil
	case n < 70 && len(s.images) < 12:
		return s.committed(vol)
	case n < 74:
		m := s.volumes[vol]
		m.now = append(bytes.Clone(m.revert[:min(len(m.revert), len(m.now))]), make([]byte, max(len(m.now)-len(m.revert), 0))...)
		return s.house.volume(vol).Do(s.t.Context(), command.Call{Line: "revert"})
	case n < 79:
		return s.resize(vol)
	case n < 81:
		to := s.name("volume")
		s.volumes[to] = s.volumes[vol]
		delete(s.volumes, vol)
		return s.house.volume(vol).Do(s.t.Context(), command.Call{Line: "rename " + to})
	case n < 83:
		delete(s.volumes, vol)
		return s.house.volume(vol).Do(s.t.Context(), command.Call{Line: "delete"})
	case n < 86:
		delete(s.images, img)
		return s.image(img).Do(s.t.Context(), command.Call{Line: "delete"})
	case n < 90:
		return s.checkImage(img, s.images[img])
	case n < 93:
		if s.image(img).record().Committed || !s.image(img).record().Stored() {
			return nil
		}
		s.await(s.image(img))
		s.work(s.image(img), "evict")
	case n < 95:
		s.reopen()
	}
	return nil
}

// await waits for the end of the hydration that a registration began.
func (s *shop) await(img *Image) {
	_ = img.jobs.Wait(s.t.Context())
}

func (s *shop) size() int { return 512 * (1 + s.rng.IntN(2000)) }

func (s *shop) register() error {
	name := s.name("image")
	content := make([]byte, s.size())
	for off := 0; off < len(content); off += blockstore.BlockSize {
		copy(content[off:], storetest.Block(s.rng.IntN(30)))
	}
	s.images[name] = content
	mode := []string{"load=lazy", "load=lazy", "load=full", "load=none"}[s.rng.IntN(4)]
	return s.Do(s.t.Context(), command.Call{Line: command.Quote("register", name, s.source(name, string(content)), mode)})
}

func (s *shop) cloned(img string) error {
	name, now := s.name("volume"), bytes.Clone(s.images[img])
	words := []string{"clone", name}
	if s.rng.IntN(3) == 0 {
		now = append(now, make([]byte, s.size())...)
		words = append(words, fmt.Sprintf("size=%d", len(now)))
	}
	s.volumes[name] = &modelVolume{now, bytes.Clone(now)}
	return s.image(img).Do(s.t.Context(), command.Call{Line: command.Quote(words...)})
}

func (s *shop) change(vol string) error {
	now := s.volumes[vol].now
	off := s.rng.IntN(len(now))
	n := min(1+s.rng.IntN(1<<(s.rng.IntN(18)+1)), len(now)-off)
	d, err := s.house.volume(vol).OpenWriter(s.t.Context(), command.Process{PID: 1})
	if err != nil {
		return err
	}
	if s.rng.IntN(4) == 0 {
		clear(now[off:][:n])
		err = d.Zero(s.t.Context(), int64(off), int64(n))
	} else {
		copy(now[off:][:n], storetest.Block(31+s.rng.IntN(30)))
		_, err = d.WriteAt(s.t.Context(), now[off:][:n], int64(off))
	}
	return errors.Join(err, d.Close())
}

func (s *shop) committed(vol string) error {
	name, v := s.name("image"), s.house.volume(vol)
	verb := []string{"commit", "snapshot"}[s.rng.IntN(2)]
	if err := v.Do(s.t.Context(), command.Call{Line: verb + " " + name + " quiesce=yes"}); err != nil {
		return err
	}
	err := v.jobs.Wait(s.t.Context())
	m := s.volumes[vol]
	s.images[name] = bytes.Clone(m.now)
	if verb == "commit" {
		m.revert = bytes.Clone(m.now)
	}
	return err
}

func (s *shop) resize(vol string) error {
	m, size := s.volumes[vol], s.size()
	m.now = append(m.now[:min(size, len(m.now))], make([]byte, max(size-len(m.now), 0))...)
	return s.house.volume(vol).Do(s.t.Context(), command.Call{Line: fmt.Sprintf("resize %d force", size)})
}

// checkImage reads an image, and, at times, hydrates it and compares its digest.
func (s *shop) checkImage(name string, want []byte) error {
	img := s.image(name)
	d, err := img.Open(s.t.Context())
	if err != nil {
		return err
	}
	got := content(s.t, d)
	if err := d.Close(); err != nil || got != string(want) {
		return fmt.Errorf("%s: other bytes, or %v", name, err)
	}
	if s.rng.IntN(2) == 0 || !img.record().Stored() {
		return nil
	}
	s.await(img)
	s.work(img, "hydrate")
	digest, err := blockstore.DigestPlain(s.t.Context(), storetest.Flat(want), nil)
	if err != nil || img.Digest() != digest.String() {
		return fmt.Errorf("%s: digest %q, want %s (%v)", name, img.Digest(), digest, err)
	}
	return nil
}
