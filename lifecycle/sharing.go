package lifecycle

import (
	"context"
	"errors"
	"sync"
	"time"
)

// The pool's other half: how a disk that is open is shared, kept for a while, and closed.

// maxIdle is how many disks are kept open that nobody has open: tables in memory, and a file descriptor each.
const maxIdle = 16

// maxIdleTime is how long such a disk is kept: long enough for the next of a row of commands, short enough for who wants
// to unmount the file system with the source.
const maxIdleTime = 10 * time.Second

// handle returns a handle on the disk in a slot; open is called, by one at a time, if it is empty.
func (p *pool) handle(ctx context.Context, s *slot, open func() (*disk, error)) (*Handle, error) {
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
	p.mu.Lock()
	defer p.mu.Unlock()
	d.slot, s.disk = s, d
	return p.hold(d), nil
}

// share returns a handle on the disk in a slot, nil if there is none.
func (p *pool) share(s *slot) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.disk == nil {
		return nil
	}
	return p.hold(s.disk)
}

// hold makes a handle on a disk; the caller holds mu.
func (p *pool) hold(d *disk) *Handle {
	d.refs++
	p.unidle(d)
	return &Handle{d.Disk, d.origin, sync.OnceValue(func() error { return p.release(d) })}
}

// release takes a handle back. What must be closed is closed outside the lock: that waits for loads.
func (p *pool) release(d *disk) error {
	p.mu.Lock()
	d.refs--
	old := p.settle(d)
	p.mu.Unlock()
	return closeDisk(old)
}

// keep puts a disk that was just opened, and is used by nobody, into the slot of an image that nobody can open yet. It
// returns the disk that is to be closed for it, if any.
func (p *pool) keep(s *slot, d *disk) *disk {
	p.mu.Lock()
	defer p.mu.Unlock()
	d.slot, s.disk = s, d
	return p.settle(d)
}

// rest returns the place of a disk, for one more image or volume to rest on it.
func (p *pool) rest(id uint64) *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.slots[id]
	if s == nil {
		s = &slot{id: id, turn: make(chan struct{}, 1)}
		p.slots[id] = s
	}
	s.users++
	return s
}

// leave ends that for one of them. With the last one the disk ends too, now or with its last handle: then the caller does what is
// left to be done.
func (p *pool) leave(s *slot) (last bool, end func() error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.users--; s.users > 0 {
		return false, func() error { return nil }
	}
	delete(p.slots, s.id)
	if s.disk == nil {
		return true, func() error { return p.erase(s) }
	}
	if d := p.settle(s.disk); d != nil {
		return true, d.close
	}
	return true, func() error { return nil }
}

// rested tells whether an image or a volume rests on the disk of that number.
func (p *pool) rested(id uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.slots[id] != nil
}

// discard takes a disk that nobody has open out of its slot, for the caller to close; nil if there is none.
func (p *pool) discard(s *slot) *disk {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.disk == nil || s.disk.refs > 0 {
		return nil
	}
	return p.drop(s.disk)
}

// expire closes a disk that has been idle for long.
func (p *pool) expire(d *disk) {
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

// settle finds the place of a disk whose handles or slot changed, and returns the one that is to be closed for it, if
// any; the caller holds mu.
func (p *pool) settle(d *disk) *disk {
	switch {
	case d.refs > 0:
		return nil
	case d.slot.users == 0 || p.closed:
		return p.drop(d)
	case d.idle == nil:
		d.idle = p.idle.PushFront(d)
		d.expiry = time.AfterFunc(maxIdleTime, func() { p.expire(d) })
	}
	if p.idle.Len() > maxIdle {
		return p.drop(p.idle.Back().Value.(*disk))
	}
	return nil
}

// drop takes a disk that nobody uses out of the pool; the caller holds mu.
func (p *pool) drop(d *disk) *disk {
	p.unidle(d)
	d.slot.disk = nil
	return d
}

// unidle takes a disk out of the idle ones, if it is one; the caller holds mu.
func (p *pool) unidle(d *disk) {
	if d.idle == nil {
		return
	}
	p.idle.Remove(d.idle)
	d.idle = nil
	d.expiry.Stop()
}

// close closes the idle disks, and lets each other one close with its last handle.
func (p *pool) close() error {
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
