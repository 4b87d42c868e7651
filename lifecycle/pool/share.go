package pool

import (
	"context"
	"errors"
	iofs "io/fs"
	"sync"
	"time"

	"github.com/imsfs/imsfs/lifecycle/command"
)

// MaxIdle is how many disks are kept open that no handle has: tables in memory, and a file
// descriptor each.
const MaxIdle = 16

// maxIdleTime is how long such a disk is kept: long enough for the next of a script's commands,
// short enough for an operator who unmounts the file system of the source.
const maxIdleTime = 10 * time.Second

// Slot is the place of one disk while something rests on it.
type Slot struct {
	id   uint64
	turn chan struct{} // holds a token while the disk is being opened

	// Guarded by pool.mu.
	users int   // images and volumes that rest on the disk; without any it closes with its last handle
	disk  *disk // nil if it is not open
}

// Acquire returns the slot of a disk and adds a user.
func (p *Pool) Acquire(id uint64) *Slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[id]
	if s == nil {
		s = &Slot{id: id, turn: make(chan struct{}, 1)}
		p.slots[id] = s
	}
	s.users++
	return s
}

// Release drops a user of a slot. With the last one go the disk's blocks and its index, in the
// background: at once, or when the last handle is closed.
func (p *Pool) Release(s *Slot) {
	p.mu.Lock()
	s.users--
	if s.users > 0 {
		p.mu.Unlock()
		return
	}
	delete(p.slots, s.id)
	end := func() error { return p.erase(s) }
	if s.disk != nil {
		old := p.settle(s.disk)
		end = func() error { return closeDisk(old) }
	}
	p.mu.Unlock()
	p.indexes.Drop(s.id)
	p.closeLater(end)
}

// slot returns the slot of a disk, nil if nothing rests on it.
func (p *Pool) slot(id uint64) *Slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots[id]
}

// handle returns a handle on the disk in a slot. If the slot is empty it calls open, one caller at
// a time.
func (p *Pool) handle(ctx context.Context, s *Slot, open func() (*disk, error)) (*Handle, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if h := p.share(s); h != nil {
		return h, nil
	}
	d, err := open()
	if err != nil {
		return nil, err
	}
	if h := p.enter(s, d); h != nil {
		return h, nil
	}
	p.closeLater(func() error { return errors.Join(d.close(), p.erase(s)) })
	return nil, command.Refuse(iofs.ErrClosed, "the disk was deleted")
}

// enter puts a disk that was just opened into its slot and returns a handle, or nil if the last user
// of the slot left meanwhile: the blocks went with it.
func (p *Pool) enter(s *Slot, d *disk) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users == 0 {
		return nil
	}
	d.slot, s.disk = s, d
	return p.hold(d)
}

// share returns a handle on the disk in a slot, nil if it is not open.
func (p *Pool) share(s *Slot) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.disk == nil {
		return nil
	}
	return p.hold(s.disk)
}

// hold makes a handle on a disk; the caller holds mu.
func (p *Pool) hold(d *disk) *Handle {
	d.refs++
	p.unidle(d)
	return &Handle{d.Disk, d.origin, sync.OnceValue(func() error { return p.unhold(d) })}
}

// unhold takes a handle back. Its own disk is closed now, another one in the background.
func (p *Pool) unhold(d *disk) error {
	p.mu.Lock()
	d.refs--
	old := p.settle(d)
	p.mu.Unlock()
	if old == nil || old == d {
		return closeDisk(old)
	}
	p.closeLater(old.close)
	return nil
}

// keep puts a disk that was just opened, and has no handle, into a slot.
func (p *Pool) keep(s *Slot, d *disk) {
	p.mu.Lock()
	d.slot, s.disk = s, d
	old := p.settle(d)
	p.mu.Unlock()
	if old != nil {
		p.closeLater(old.close)
	}
}

// Forget closes the disk in a slot if it has no handle, so that the next one opens it anew.
func (p *Pool) Forget(s *Slot) {
	if old := p.discard(s); old != nil {
		p.closeLater(old.close)
	}
}

// discard takes a disk without handles out of its slot and returns it, or nil if there is none.
func (p *Pool) discard(s *Slot) *disk {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.disk == nil || s.disk.refs > 0 {
		return nil
	}
	return p.drop(s.disk)
}

// expire closes a disk that has been idle for maxIdleTime.
func (p *Pool) expire(d *disk) {
	p.mu.Lock()
	if d.idle == nil || p.closed {
		p.mu.Unlock()
		return
	}
	p.drop(d)
	p.expiring.Add(1)
	p.mu.Unlock()
	defer p.expiring.Done()
	_ = d.close() // a file that was only read has nothing to lose
}

// settle finds the place of a disk whose handles or slot changed. It returns a disk that must be
// closed, or nil; the caller holds mu.
func (p *Pool) settle(d *disk) *disk {
	switch {
	case d.refs > 0:
		return nil
	case d.slot.users == 0 || p.closed:
		return p.drop(d)
	case d.idle == nil:
		d.idle = p.idle.PushFront(d)
		d.expiry = time.AfterFunc(maxIdleTime, func() { p.expire(d) })
	}
	if p.idle.Len() > MaxIdle {
		return p.drop(p.idle.Back().Value.(*disk))
	}
	return nil
}

// drop takes a disk without users out of the pool; the caller holds mu.
func (p *Pool) drop(d *disk) *disk {
	p.unidle(d)
	d.slot.disk = nil
	return d
}

// unidle takes a disk off the list of idle ones, if it is there; the caller holds mu.
func (p *Pool) unidle(d *disk) {
	if d.idle == nil {
		return
	}
	p.idle.Remove(d.idle)
	d.idle = nil
	d.expiry.Stop()
}

// Close closes the idle disks, and lets each other one close with its last handle.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	var old []*disk
	for p.idle.Len() > 0 {
		old = append(old, p.drop(p.idle.Front().Value.(*disk)))
	}
	p.mu.Unlock()
	p.expiring.Wait()
	var errs []error
	for _, d := range old {
		errs = append(errs, d.close())
	}
	return errors.Join(errs...)
}

func closeDisk(d *disk) error {
	if d == nil {
		return nil
	}
	return d.close()
}
