package vmdk

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
)

// claim is a structure that has a place in the file.
type claim struct {
	start int64 // sector
	id    int64 // kind and number: see newClaim
}

type claimKind int64

const (
	aHeader claimKind = iota
	aDescriptor
	aRedundantDirectory
	aRedundantTable
	aDirectory
	aTable
	aGrain
	aFooter
)

var claimNames = [...]string{"header", "descriptor", "redundant grain directory", "redundant grain table", "grain directory", "grain table", "grain", "footer"}

const kindShift = 56

func newClaim(start int64, kind claimKind, number int64) claim {
	return claim{start, int64(kind)<<kindShift | number}
}

func (c claim) kind() claimKind { return claimKind(c.id >> kindShift) }
func (c claim) number() int64   { return c.id & (1<<kindShift - 1) }

func (c claim) String() string {
	switch c.kind() {
	case aGrain, aTable, aRedundantTable:
		return fmt.Sprintf("%s %d", claimNames[c.kind()], c.number())
	}
	return claimNames[c.kind()]
}

// claims yields everything that has a place in the file, in the tables' order, and reports entries
// that name an impossible one.
func (k *sparseCheck) claims(ctx context.Context, yield func(claim)) error {
	h := &k.s.header
	yield(newClaim(0, aHeader, 0))
	if h.descriptorOffset != 0 {
		yield(newClaim(int64(h.descriptorOffset), aDescriptor, 0))
	}
	yield(newClaim(int64(h.gdOffset), aDirectory, 0))
	if k.s.headerAt > 0 {
		yield(newClaim(k.s.headerAt/sector, aFooter, 0))
	}
	if k.redundant != nil {
		yield(newClaim(int64(h.rgdOffset), aRedundantDirectory, 0))
		k.tables(k.redundant, aRedundantTable, yield, func(int64) error { return nil })
	}
	return k.tables(k.s.dir, aTable, yield, func(j int64) error {
		if k.shared {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := k.s.dir.table(ctx, j)
		if err != nil {
			return k.hold(err)
		}
		k.grains(entries, j, yield)
		return nil
	})
}

// tables yields the tables of a directory, and calls next for each that is in a possible place.
func (k *sparseCheck) tables(d *directory, kind claimKind, yield func(claim), next func(j int64) error) error {
	for j := range d.len() {
		e := d.entry(j)
		if e == 0 {
			continue
		}
		if (e+d.tableSectors())*sector > d.file.Size() {
			k.fault(d.at+j*gteSize, "%v: at sector %d, it must lie within the file", newClaim(0, kind, j), e)
			continue
		}
		yield(newClaim(e, kind, j))
		if err := next(j); err != nil {
			return err
		}
	}
	return nil
}

// grains yields those of table j.
func (k *sparseCheck) grains(entries []byte, j int64, yield func(claim)) {
	for i := range int64(len(entries) / gteSize) {
		e := gte(entries, i)
		if k.s.state(e) != formats.Data {
			continue
		}
		g := j*k.s.dir.perTable + i
		need := int64(1)
		if !k.s.header.compressed() {
			need = ceilDiv(k.s.length(g), sector)
		}
		if problem := k.s.misplaced(e, need); problem != "" {
			k.fault(k.s.dir.entry(j)*sector+i*gteSize, "grain table %d: grain %d at sector %d: %s", j, g, e, problem)
			continue
		}
		yield(newClaim(e, aGrain, g))
	}
}
