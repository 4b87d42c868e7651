package vmdk

import (
	"context"
	"errors"

	"github.com/imsfs/imsfs/formats"
)

// Check reports the problems of the source first, then, extent by extent, those of the other files,
// in file order each. Their texts begin with the file's name, and their offsets are in that file. A
// backing image is not checked.
func (d *Driver) Check(ctx context.Context, src formats.Source, opts formats.OpenOptions, report func(formats.Problem)) error {
	c := &checker{driver: d, out: report}
	front, err := readFront(ctx, file{Source: src}, c.reportAll)
	if err != nil {
		return c.damaged(err)
	}
	if front.header != nil {
		return c.alone(ctx, front)
	}
	if err := front.describe(ctx); err != nil {
		return c.damaged(err)
	}
	o := &opener{driver: d, files: opts.Files, opened: map[string]formats.Source{}, left: maxDirectories, cacheBytes: minTables}
	checked := map[string]bool{}
	for _, line := range front.desc.extents {
		if err := c.extent(ctx, o, front.file, line, checked[line.file]); err != nil {
			return err
		}
		checked[line.file] = true
	}
	return nil
}

// checker is one Check under way.
type checker struct {
	driver *Driver
	out    func(formats.Problem)
}

// reportAll reports all faults but the last, which is for damaged.
func (c *checker) reportAll(faults []error) error {
	for _, err := range faults[:len(faults)-1] {
		if err := c.damaged(err); err != nil {
			return err
		}
	}
	return faults[len(faults)-1]
}

// damaged reports an error that is about damage, and returns any other: that kept the checker from
// looking.
func (c *checker) damaged(err error) error {
	var f *fault
	if errors.As(err, &f) {
		c.out(f.problem)
		return nil
	}
	return err
}

// asFault reports whether err is about damage, and sets f.
func asFault(err error, f **fault) bool { return errors.As(err, f) }

// alone checks a file that is an extent and has the descriptor.
func (c *checker) alone(ctx context.Context, r *front) error {
	k := newSparseCheck(c)
	if err := r.describe(ctx); err != nil {
		if err := k.hold(err); err != nil {
			return err
		}
	} else if lines := r.desc.extents; len(lines) == 1 && lines[0].sectors != int64(r.header.capacity) {
		k.fault(lines[0].at, "descriptor: the extent has %d sectors, must have the header's %d", lines[0].sectors, r.header.capacity)
	}
	s, err := newSparse(ctx, c.driver, r, 0)
	if err != nil {
		return err
	}
	return k.run(ctx, s)
}

// extent checks one that a descriptor names. A sparse one in a file that has been checked is not
// looked through again.
func (c *checker) extent(ctx context.Context, o *opener, from file, line extentLine, again bool) error {
	o.left = maxDirectories // one at a time is in memory
	x, err := o.open(ctx, from, line)
	if err != nil {
		return c.damaged(err)
	}
	if again {
		return nil
	}
	switch x := x.(type) {
	case *sparse:
		k := newSparseCheck(c)
		return k.run(ctx, x)
	case *seSparse:
		var found formats.Findings
		defer found.Report(c.out)
		return x.check(ctx, &found)
	}
	return nil
}
