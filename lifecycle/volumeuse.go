package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"sync"
	"syscall"

	"github.com/imsfs/imsfs/lazyload/overlay"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// VolumeHandle is one user's hold on a volume's disk.
type VolumeHandle struct {
	*overlay.Disk
	giveBack func() error
}

// Close gives the disk back; nothing else may be running on this handle. More calls do nothing.
func (h *VolumeHandle) Close() error { return h.giveBack() }

// Open returns a handle on the disk for reading.
func (v *Volume) Open(ctx context.Context) (*VolumeHandle, error) {
	return v.open(ctx, nil)
}

// OpenWriter returns a handle on the disk for reading and writing. One process at a time may have
// such handles, as many as it likes, unless the volume is shared: command.ErrBusy. For example,
// resize2fs opens its disk twice. A volume that is damaged can only be read: EROFS.
func (v *Volume) OpenWriter(ctx context.Context, by command.Process) (*VolumeHandle, error) {
	return v.open(ctx, &by)
}

// open opens the disk for a writer, or for reading if there is none.
func (v *Volume) open(ctx context.Context, writer *command.Process) (*VolumeHandle, error) {
	h, err := v.admit(ctx, writer)
	if err != nil {
		return nil, fmt.Errorf("volume %q: %w", v.Name(), err)
	}
	return h, nil
}

func (v *Volume) admit(ctx context.Context, writer *command.Process) (*VolumeHandle, error) {
	u := &v.use
	free := func() bool { return writer == nil || u.admits(*writer, v.record().Shared) }
	u.await(ctx, free)
	if err := u.take(ctx); err != nil {
		return nil, err
	}
	defer u.giveTurn()
	u.mu.Lock()
	ok := free() // handles come and go only in their turn
	u.mu.Unlock()
	if !ok {
		return nil, command.Refuse(command.ErrBusy, "another process has it open for writing (%q lets several)", "set shared yes")
	}
	if v.Deleted() {
		return nil, command.Refuse(iofs.ErrClosed, "it was deleted")
	}
	disk, err := v.openDisk(ctx)
	if err != nil {
		return nil, err
	}
	return v.handle(disk, writer)
}

// handle makes a handle on the open disk; the caller has the turn.
func (v *Volume) handle(disk *overlay.Disk, writer *command.Process) (*VolumeHandle, error) {
	u := &v.use
	u.mu.Lock()
	defer u.mu.Unlock()
	if damage := disk.Damage(); damage != nil && writer != nil {
		err := command.Refuse(syscall.EROFS, "it can only be read: %v", damage)
		if u.handles == 0 {
			err = errors.Join(err, v.shut())
		}
		return nil, err
	}
	u.handles++
	if writer != nil {
		u.writers[*writer]++
	}
	return &VolumeHandle{Disk: disk, giveBack: sync.OnceValue(func() error { return v.release(writer) })}, nil
}

// release takes a handle back; the last one closes the disk.
func (v *Volume) release(writer *command.Process) error {
	u := &v.use
	u.turn <- struct{}{}
	defer u.giveTurn()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handles--
	if writer != nil {
		if u.writers[*writer]--; u.writers[*writer] == 0 {
			delete(u.writers, *writer)
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
	u.deltaBytes = u.disk.Allocated()
	err := u.disk.Close()
	if u.base != nil {
		err = errors.Join(err, u.base.Close())
	}
	u.disk, u.base = nil, nil
	return err
}

// openDisk returns the disk, and opens it if it is not open; the caller has the turn.
func (v *Volume) openDisk(ctx context.Context) (*overlay.Disk, error) {
	u := &v.use
	u.mu.Lock()
	disk := u.disk
	u.mu.Unlock()
	if disk != nil {
		return disk, nil
	}
	rec := v.record()
	lost := v.checkCommitted(rec)
	var base *pool.Handle
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

func (v *Volume) openBase(ctx context.Context, rec catalog.Volume) (*pool.Handle, error) {
	if rec.Base == nil {
		return nil, nil
	}
	h, err := v.reg.pool.Open(ctx, *rec.Base, v.slot())
	if err != nil {
		return nil, fmt.Errorf("the disk it was cloned from: %w", err)
	}
	return h, nil
}

func (v *Volume) slot() *pool.Slot {
	v.use.mu.Lock()
	defer v.use.mu.Unlock()
	return v.base
}

// openDeltas opens the disk, to be salvaged if it is damaged, and ends a resize that was cut off.
func (v *Volume) openDeltas(rec catalog.Volume, base *pool.Handle, lost error) (*overlay.Disk, error) {
	if lost != nil {
		return v.openWithoutBase(rec, lost)
	}
	var below overlay.Base
	if base != nil {
		below = base.Disk
	}
	d, err := v.openStack(rec, below, false)
	var damage *overlay.DamagedError
	if errors.As(err, &damage) {
		d, err = v.openStack(rec, below, true)
		v.setDamage(damage)
	} else {
		v.setDamage(nil)
	}
	if err == nil && damage == nil && d.Size() != rec.Size {
		if err = d.Resize(rec.Size); err != nil {
			err = errors.Join(err, d.Close())
		}
	}
	return d, err
}

// inspectDeltas opens the deltas alone, if that was not done yet, to find out whether they are
// whole and how much they have. While the disk is being opened it leaves that to the opening.
func (v *Volume) inspectDeltas() {
	u := &v.use
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.disk != nil || u.deltaBytes >= 0 {
		return
	}
	select {
	case u.turn <- struct{}{}:
		defer u.giveTurn()
	default:
		return
	}
	rec := v.record()
	d, err := v.openStack(rec, nil, true) // the base need not be opened
	var damage *overlay.DamagedError
	v.setDamage(v.checkCommitted(rec))
	if err != nil {
		if errors.As(err, &damage) {
			v.setDamage(damage)
		}
		return
	}
	if errors.As(d.Damage(), &damage) {
		v.setDamage(damage)
	}
	u.deltaBytes = d.Allocated()
	if err := d.Close(); err != nil {
		v.reg.cfg.Log.Warn("closing a delta", append(v.attrs(), "error", command.Sentence(err))...)
	}
}

func (v *Volume) openStack(rec catalog.Volume, base overlay.Base, salvage bool) (*overlay.Disk, error) {
	var files []overlay.Files
	for _, n := range rec.Deltas {
		f, err := v.reg.deltas.Open(n)
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

// closedToAll takes the turn if no process has the disk open, so that none opens it until release.
// ErrBusy: one has, or is just opening it.
func (v *Volume) closedToAll(ctx context.Context) (release func(), err error) {
	u := &v.use
	inUse := command.Refuse(command.ErrBusy, "the volume %q is in use", v.Name())
	if !u.await(ctx, func() bool { return u.handles == 0 }) {
		return nil, inUse
	}
	soon, cancel := context.WithTimeout(ctx, lag)
	defer cancel()
	if err := u.take(soon); err != nil {
		return nil, inUse
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.handles > 0 {
		u.giveTurn()
		return nil, inUse
	}
	return u.giveTurn, nil
}

func (v *Volume) handles() (all, writers int) {
	v.use.mu.Lock()
	defer v.use.mu.Unlock()
	for _, n := range v.use.writers {
		writers += n
	}
	return v.use.handles, writers
}

// close flushes and closes the disk when the registry ends, also one that is open: nothing is
// served any more. ctx bounds the waiting for an opening that hangs.
func (v *Volume) close(ctx context.Context) error {
	u := &v.use
	if err := u.take(ctx); err != nil {
		return command.Refuse(err, "the volume %q is still being opened", v.Name())
	}
	defer u.giveTurn()
	u.mu.Lock()
	defer u.mu.Unlock()
	return v.shut()
}
