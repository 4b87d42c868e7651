package formats

import "context"

// Holes are the holes of a file that stores bytes of a disk as they are: they read as zeros. The
// zero value knows none.
type Holes struct {
	sparse Sparse
	size   int64
}

// HolesOf returns the holes of src, as far as src knows them (Sparse).
func HolesOf(src Source) Holes {
	sparse, ok := src.(Sparse)
	if !ok {
		return Holes{}
	}
	return Holes{sparse, src.Size()}
}

// IfAny returns h, or none if the file takes as much space as it has bytes. Looking for holes costs
// system calls for each extent, and most files of some formats are dense.
func (h Holes) IfAny() Holes {
	if h.sparse == nil || h.sparse.Allocated() >= h.size {
		return Holes{}
	}
	return h
}

// Known reports whether holes are known at all.
func (h Holes) Known() bool { return h.sparse != nil }

// Refine returns the first part of e that is all in a hole of the file, and then Zero, or all
// outside of holes. e is Data, stored as it is and in one piece at an offset of the file. An extent
// that is not wholly in the file is returned unchanged, because reading it is an error.
func (h Holes) Refine(ctx context.Context, e Extent, at int64) (Extent, error) {
	if h.sparse == nil || at < 0 || at > h.size-e.Len {
		return e, nil
	}
	hole, n, err := h.sparse.Hole(ctx, at, e.Len)
	if err != nil {
		return Extent{}, err
	}
	if hole {
		e.State = Zero
	}
	e.Len = n
	return e, nil
}

// Zeros returns how many of the n bytes at an offset of the file are known to be zeros because they
// lie in a hole. Drivers skip empty tables by it.
func (h Holes) Zeros(ctx context.Context, at, n int64) (int64, error) {
	if h.sparse == nil || at < 0 || n <= 0 || at > h.size-n {
		return 0, nil
	}
	hole, n, err := h.sparse.Hole(ctx, at, n)
	if err != nil || !hole {
		return 0, err
	}
	return n, nil
}
