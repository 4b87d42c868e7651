package overlay

import (
	"errors"
	"fmt"
	"io"
)

// readHeader takes the younger of the copies that are whole. They differ only if a kill came in between.
func (d *delta) readHeader() error {
	found := false
	var rule string
	for i := range int64(2) {
		b := make([]byte, headerSize)
		if _, err := d.Bitmap.ReadAt(b, i*headerSize); errors.Is(err, io.EOF) {
			return d.broken(0, "it ends within its header")
		} else if err != nil {
			return err
		}
		h, broken, err := parseHeader(b)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", d.Name, err)
		case broken != "":
			rule = broken
		case !found || h.seq > d.seq:
			d.header, found = h, true
		}
	}
	if !found {
		return d.broken(0, "both copies of the header: "+rule)
	}
	return nil
}

// checkBitmapSize compares the bitmap's size with the header.
func (d *delta) checkBitmapSize() error {
	n, err := d.Bitmap.Size()
	if err == nil && n < bitmapSize(d.size) {
		err = d.broken(n, fmt.Sprintf("it ends there, and a disk of %d bytes needs %d", d.size, bitmapSize(d.size)))
	}
	return err
}

// checkDataSize compares the size of the data file with the header. After a kill they may differ.
func (d *delta) checkDataSize() error {
	n, err := d.Data.Size()
	if err != nil {
		return err
	}
	if n != d.size && d.clean {
		return &DamagedError{File: d.Name, Off: min(n, d.size), Rule: fmt.Sprintf("the file has %d bytes, the disk %d", n, d.size)}
	}
	return nil
}

func (d *delta) readPages() error {
	end, err := d.Bitmap.Size()
	if err != nil {
		return err
	}
	for i := max(end-pagesAt, 0) / pageStride; i < int64(len(d.pages)); i++ {
		d.pages[i].Store(lost()) // the file ends too early, which was found
	}
	slots := make([]byte, pageStride)
	for i := int64(0); i < int64(len(d.pages)); i++ {
		at, err := d.Bitmap.NextData(pagesAt + i*pageStride)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		i = (at - pagesAt) / pageStride
		if i >= int64(len(d.pages)) || d.pages[i].Load() != nil {
			return nil
		}
		if _, err := d.Bitmap.ReadAt(slots, pagesAt+i*pageStride); err != nil {
			return err
		}
		p, err := d.parsePage(slots, i)
		if err != nil {
			if err := d.found(err); err != nil {
				return err
			}
		}
		if p != nil {
			d.pages[i].Store(p)
			d.units.Add(p.written())
		}
	}
	return nil
}

// parsePage returns the younger of a page's two slots, nil if none was written. A power cut can
// break the slot that was being written. Then the other slot counts, and the page is written
// again. In a sealed delta the sum of all pages decides whether the broken slot was the one that
// counted.
func (d *delta) parsePage(slots []byte, number int64) (*page, error) {
	var seqs [2]uint64
	broken := false
	for s := range seqs {
		seq, why := slotSeq(slots[s*pageSize:][:pageSize], number, int64(s))
		if seqs[s] = seq; why == "" {
			continue
		}
		at := pagesAt + number*pageStride + int64(s)*pageSize
		if broken {
			return lost(), d.broken(at, fmt.Sprintf("page %d, slot %d: %s", number, s, why))
		}
		broken = true
	}
	young := 0
	if seqs[1] > seqs[0] {
		young = 1
	}
	if seqs[young] == 0 && broken {
		return d.rewritten(), nil
	}
	if seqs[young] == 0 {
		return nil, nil
	}
	p := decode(slots[young*pageSize:][:pageSize], seqs[young])
	if broken {
		p.torn = true
		p.dirty.Store(true)
		d.dirty.Store(true)
	}
	return p, nil
}

// rewritten is a page without content whose broken slot is to be written again.
func (d *delta) rewritten() *page {
	p := &page{torn: true}
	p.dirty.Store(true)
	d.dirty.Store(true)
	return p
}

// checkEnd rejects a data file that ends before a unit that is written.
func (d *delta) checkEnd() error {
	n, err := d.Data.Size()
	if err != nil || n >= d.size {
		return err
	}
	for u := n / Unit; u < units(d.size); {
		s, run := d.run(u, units(d.size))
		if s == written {
			return &DamagedError{File: d.Name, Off: n, Rule: fmt.Sprintf("the file ends there, and unit %d at %#x is written", u, u*Unit)}
		}
		u += run
	}
	return nil
}
