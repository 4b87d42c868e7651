package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// use is who has a volume's disk open.
type use struct {
	turn chan struct{} // holds a token while someone opens, closes or changes the disk

	mu      sync.Mutex // guards the following
	disk    *overlay.Disk
	base    *Handle // what the disk lies on, nil if that is nothing
	handles int
	writers map[command.Process]int // opens for writing, by the process
	written int64                   // bytes the deltas had when the disk was closed; less than 0: nobody has looked
	changed chan struct{}           // closed and made anew when a handle is given back
}

func newUse() use {
	return use{
		turn:    make(chan struct{}, 1),
		writers: map[command.Process]int{},
		written: -1,
		changed: make(chan struct{}),
	}
}

// lag is how long the kernel may take to tell of a close after the closing process went on.
const lag = time.Second

// take waits for the turn; giveTurn ends it.
func (u *use) take(ctx context.Context) error {
	select {
	case u.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *use) giveTurn() { <-u.turn }

// until waits, but not for long, until what is asked of the counts holds.
func (u *use) until(ctx context.Context, holds func() bool) bool {
	timer := time.NewTimer(lag)
	defer timer.Stop()
	for {
		u.mu.Lock()
		ok, changed := holds(), u.changed
		u.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// VolumeHandle is one user's hold on a volume's disk.
type VolumeHandle struct {
	*overlay.Disk
	giveBack func() error
}

// Close gives the disk back; nothing else may be running on this handle. More calls do nothing.
func (h *VolumeHandle) Close() error { return h.giveBack() }

// Open returns a handle on the disk, for writing too if write is true; see OpenWriter.
func (v *Volume) Open(ctx context.Context, write bool) (*VolumeHandle, error) {
	return v.openAs(ctx, write, command.Process{})
}

// OpenWriter returns a handle on the disk for reading and writing. One process at a time may have
// such handles, as many as it likes, unless the volume is shared: ErrBusy. For example, resize2fs
// opens its disk twice. A volume that is damaged can only be read: EROFS.
func (v *Volume) OpenWriter(ctx context.Context, by command.Process) (*VolumeHandle, error) {
	return v.openAs(ctx, true, by)
}

func (v *Volume) openAs(ctx context.Context, write bool, by command.Process) (*VolumeHandle, error) {
	h, err := v.open(ctx, write, by)
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", v.Name(), err)
	}
	return h, nil
}

// onlyWriter reports whether no process but by has the disk open for writing; the caller holds mu.
func (u *use) onlyWriter(by command.Process) bool {
	for p := range u.writers {
		if !p.Same(by) {
			return false
		}
	}
	return true
}

func (v *Volume) open(ctx context.Context, write bool, by command.Process) (*VolumeHandle, error) {
	u := &v.use
	free := func() bool { return !write || u.onlyWriter(by) || v.record().Shared }
	u.until(ctx, free)
	if err := u.take(ctx); err != nil {
		return nil, err
	}
	defer u.giveTurn()
	u.mu.Lock()
	ok := free() // who gives a handle back, or takes one, has the turn
	u.mu.Unlock()
	if !ok {
		return nil, refuse(ErrBusy, "somebody has it open for writing; say %q to let several", "set shared yes")
	}
	if v.Deleted() {
		return nil, refuse(iofs.ErrClosed, "it was deleted")
	}
	disk, err := v.opened(ctx)
	if err != nil {
		return nil, err
	}
	h := &VolumeHandle{Disk: disk}
	u.mu.Lock()
	defer u.mu.Unlock()
	if damage := disk.Damage(); damage != nil && write {
		if u.handles == 0 {
			return nil, errors.Join(refuse(syscall.EROFS, "it can only be read: %v", damage), v.shut())
		}
		return nil, refuse(syscall.EROFS, "it can only be read: %v", damage)
	}
	u.handles++
	if write {
		u.writers[by]++
	}
	h.giveBack = sync.OnceValue(func() error { return v.release(write, by) })
	return h, nil
}

// release takes a handle back; the last one closes the disk.
func (v *Volume) release(write bool, by command.Process) error {
	u := &v.use
	u.turn <- struct{}{}
	defer u.giveTurn()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handles--
	if write {
		u.writers[by]--
		if u.writers[by] == 0 {
			delete(u.writers, by)
		}
	}
	close(u.changed)
	u.changed = make(chan struct{})
	if u.handles > 0 {
		return nil
	}
	return v.shut()
}

// shut closes the disk; the caller has the turn, and use.mu.
func (v *Volume) shut() error {
	u := &v.use
	if u.disk == nil {
		return nil
	}
	u.written = u.disk.Allocated()
	err := u.disk.Close()
	if u.base != nil {
		err = errors.Join(err, u.base.Close())
	}
	u.disk, u.base = nil, nil
	return err
}

// opened returns the open disk; the caller has the turn.
func (v *Volume) opened(ctx context.Context) (*overlay.Disk, error) {
	u := &v.use
	u.mu.Lock()
	disk := u.disk
	u.mu.Unlock()
	if disk != nil {
		return disk, nil
	}
	rec := v.record()
	lost := v.lost(rec)
	var base *Handle
	var err error
	if lost == nil {
		if base, err = v.openBase(ctx, rec); err != nil {
			return nil, err
		}
	}
	if disk, err = v.openDeltas(rec, base, lost); err != nil {
		if base != nil {
			err = errors.Join(err, base.Close())
		}
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.disk, u.base = disk, base
	return disk, nil
}

func (v *Volume) openBase(ctx context.Context, rec volumeRecord) (*Handle, error) {
	if rec.Base == nil {
		return nil, nil
	}
	h, err := v.r.openRecord(ctx, *rec.Base, v.slot())
	if err != nil {
		return nil, fmt.Errorf("what it was cloned from: %w", err)
	}
	return h, nil
}

func (v *Volume) slot() *slot {
	v.use.mu.Lock()
	defer v.use.mu.Unlock()
	return v.base
}

// openDeltas opens the disk, to be salvaged if it is damaged, and ends a resize that was cut off.
func (v *Volume) openDeltas(rec volumeRecord, base *Handle, lost error) (*overlay.Disk, error) {
	if lost != nil {
		return v.openLost(rec, lost)
	}
	var below overlay.Base
	if base != nil {
		below = base.Disk
	}
	d, err := v.openStack(rec, below, false)
	var damage *overlay.DamagedError
	if errors.As(err, &damage) {
		d, err = v.openStack(rec, below, true)
		v.found(damage)
	} else {
		v.found(nil)
	}
	if err == nil && damage == nil && d.Size() != rec.Size {
		if err = d.Resize(rec.Size); err != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return d, err
}

// found notes what damage there is, nil if there is none.
func (v *Volume) found(damage error) {
	v.r.mu.Lock()
	defer v.r.mu.Unlock()
	v.damage = sentence(damage)
}

// look opens the deltas alone, if nobody has yet, to see whether they are whole and what they have. Who is opening the disk sees it, too.
func (v *Volume) look() {
	u := &v.use
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.disk != nil || u.written >= 0 {
		return
	}
	select {
	case u.turn <- struct{}{}:
		defer u.giveTurn()
	default:
		return
	}
	rec := v.record()
	d, err := v.openStack(rec, nil, true) // what is below need not be asked
	var damage *overlay.DamagedError
	v.found(v.lost(rec))
	if err != nil {
		if errors.As(err, &damage) {
			v.found(damage)
		}
		return
	}
	if errors.As(d.Damage(), &damage) {
		v.found(damage)
	}
	u.written = d.Allocated()
	if err := d.Close(); err != nil {
		v.r.cfg.Log.Warn("closing a delta", append(volumeAttrs(v), "error", err)...)
	}
}

func (v *Volume) openStack(rec volumeRecord, base overlay.Base, salvage bool) (*overlay.Disk, error) {
	var files []overlay.Files
	for _, n := range rec.Deltas {
		f, err := v.r.deltas.Open(n)
		if err != nil {
			for _, f := range files {
				err = errors.Join(err, f.Close())
			}
			return nil, err
		}
		files = append(files, f)
	}
	return overlay.Open(files, base, salvage)
}

// awaitClose waits for those who are just closing the disk, if a command wants that nobody has it open. That is done before the command
// keeps all others waiting.
func (v *Volume) awaitClose(ctx context.Context, line string) {
	words, err := Parse(line)
	u := &v.use
	switch {
	case err != nil:
	case words[0] == "delete" || words[0] == "revert" || words[0] == "resize" && slices.Contains(words, "force"):
		u.until(ctx, func() bool { return u.handles == 0 })
	case slices.Contains(words, "quiesce=yes"):
		u.until(ctx, func() bool { return len(u.writers) == 0 })
	}
}

// unused takes the turn if nobody has the disk open, and then keeps everybody from opening it.
func (v *Volume) unused(ctx context.Context) error {
	u := &v.use
	if err := u.take(ctx); err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.handles > 0 {
		u.giveTurn()
		return refuse(ErrBusy, "the volume %q is in use", v.Name())
	}
	return nil
}

func (v *Volume) handles() (all, writers int) {
	v.use.mu.Lock()
	defer v.use.mu.Unlock()
	for _, n := range v.use.writers {
		writers += n
	}
	return v.use.handles, writers
}

// close flushes and closes a disk that somebody still has open, when the registry ends: nothing is served any more.
func (v *Volume) close() error {
	u := &v.use
	u.turn <- struct{}{}
	defer u.giveTurn()
	u.mu.Lock()
	defer u.mu.Unlock()
	return v.shut()
}
