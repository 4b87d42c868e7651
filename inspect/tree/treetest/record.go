package treetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/tree"
)

// Record is all that is compared of a file.
type Record struct {
	Path string
	tree.Attr
	Target string
	Xattrs map[string]string
	// Sum is the SHA-256 of a regular file's blocks that are not zeros, each after its offset.
	Sum string
	// Same is the first path of a file with several, in the order of strings.
	Same string
}

// Line returns the facts that a file system with these traits records.
func (r Record) Line(has Traits) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q type=%o", r.Path, r.Type())
	if has.Modes {
		fmt.Fprintf(&b, " mode=%o", r.Perm())
	}
	if has.Owners {
		fmt.Fprintf(&b, " uid=%d gid=%d", r.UID, r.GID)
	}
	if r.Type() == tree.TypeFile || has.Kernel && r.Type() == tree.TypeDir {
		fmt.Fprintf(&b, " size=%d", r.Size)
	}
	if r.Type() == tree.TypeChar || r.Type() == tree.TypeBlock {
		fmt.Fprintf(&b, " rdev=%d:%d", r.Major, r.Minor)
	}
	if has.Kernel {
		fmt.Fprintf(&b, " links=%d allocated=%d atime=%v ctime=%v", r.Links, r.Allocated, r.Atime, r.Ctime)
	}
	if has.TimeStep > 0 {
		fmt.Fprintf(&b, " mtime=%v", r.Mtime)
	}
	if r.Type() == tree.TypeLink {
		fmt.Fprintf(&b, " target=%q", r.Target)
	}
	if r.Same != "" && has.HardLinks {
		fmt.Fprintf(&b, " same=%q", r.Same)
	}
	if r.Sum != "" {
		fmt.Fprintf(&b, " sum=%s", r.Sum)
	}
	if has.Xattrs {
		for _, name := range slices.Sorted(maps.Keys(r.Xattrs)) {
			fmt.Fprintf(&b, " %s=%x", name, r.Xattrs[name])
		}
	}
	return b.String()
}

// Records reads everything of a tree. The error joins what could not be read.
func Records(ctx context.Context, tr tree.Tree, has Traits) ([]Record, error) {
	var records []Record
	var failed []error
	err := tree.Walk(ctx, tr, tr.Root(), func(f tree.File, err error) error {
		if err != nil {
			failed = append(failed, fmt.Errorf("%q: %w", f.Path, err))
			return nil
		}
		r := Record{Path: string(f.Path), Attr: f.Attr, Xattrs: map[string]string{}}
		if err := r.read(ctx, tr, has); err != nil {
			failed = append(failed, fmt.Errorf("%q: %w", f.Path, err))
		}
		records = append(records, r)
		return nil
	})
	setSame(records)
	return records, errors.Join(append(failed, err)...)
}

func (r *Record) read(ctx context.Context, tr tree.Tree, has Traits) (err error) {
	switch r.Type() {
	case tree.TypeFile:
		r.Sum, err = sum(ctx, tr, r.Attr)
	case tree.TypeLink:
		var target []byte
		target, err = tree.Readlink(ctx, tr, r.ID)
		r.Target = string(target)
	}
	if !has.Xattrs || err != nil {
		return err
	}
	xattrs, err := tree.Xattrs(ctx, tr, r.ID)
	for _, x := range xattrs {
		if _, double := r.Xattrs[x.Name]; double {
			return fmt.Errorf("the attribute %q is there twice", x.Name)
		}
		r.Xattrs[x.Name] = string(x.Value)
	}
	return err
}

// setSame finds the files with several paths.
func setSame(records []Record) {
	first := map[tree.ID]string{}
	count := map[tree.ID]int{}
	for _, r := range records {
		if count[r.ID]++; count[r.ID] == 1 || r.Path < first[r.ID] {
			first[r.ID] = r.Path
		}
	}
	for i, r := range records {
		if count[r.ID] > 1 && !r.IsDir() {
			records[i].Same = first[r.ID]
		}
	}
}

// sum returns a file's Record.Sum. It skips the holes that the tree knows.
func sum(ctx context.Context, tr tree.Tree, a tree.Attr) (string, error) {
	s := newSummer()
	for off := int64(0); off < a.Size; {
		e, err := tree.Extent(ctx, tr, a.ID, off, a.Size-off)
		if err != nil {
			return "", err
		}
		if e.State == formats.Data {
			err := s.add(off, e.Len, func(p []byte, off int64) error {
				n, err := tr.ReadAt(ctx, a.ID, p, off)
				if n == len(p) {
					return nil
				}
				if err == nil || err == io.EOF {
					return fmt.Errorf("[%d, +%d): only %d bytes (%v), of a file of %d", off, len(p), n, err, a.Size)
				}
				return err
			})
			if err != nil {
				return "", err
			}
		}
		off = e.End()
	}
	return s.result(), nil
}

// summer hashes the blocks of a file that are not zeros. Runs may begin and end anywhere.
type summer struct {
	hash  hash.Hash
	buf   []byte
	block [blockSize]byte
	at    int64 // offset of block
}

const blockSize = 4096

func newSummer() *summer { return &summer{hash: sha256.New(), buf: make([]byte, 256<<10)} }

// add hashes the n bytes at off, which are after all bytes added before.
func (s *summer) add(off, n int64, read func(p []byte, off int64) error) error {
	for n > 0 {
		p := s.buf[:min(n, int64(len(s.buf)))]
		if err := read(p, off); err != nil {
			return err
		}
		off, n = off+int64(len(p)), n-int64(len(p))
		for start := off - int64(len(p)); len(p) > 0; {
			if base := start &^ (blockSize - 1); base != s.at {
				s.flush()
				s.at = base
			}
			c := copy(s.block[start-s.at:], p)
			p, start = p[c:], start+int64(c)
		}
	}
	return nil
}

func (s *summer) flush() {
	if !zeros(s.block[:]) {
		s.hash.Write(binary.BigEndian.AppendUint64(nil, uint64(s.at)))
		s.hash.Write(s.block[:])
	}
	clear(s.block[:])
}

func (s *summer) result() string {
	s.flush()
	return hex.EncodeToString(s.hash.Sum(nil)[:16])
}

func zeros(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
