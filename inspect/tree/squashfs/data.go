package squashfs

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

// mark is a place in the block sizes of a file, and where the data of that block begin.
type mark struct {
	index int64
	at    int64
	sizes cursor
}

const maxMarks = 64

// piece is a block of a file as it is stored.
type piece struct {
	at     int64
	size   int
	packed bool
	fill   int64 // bytes of the file in it
}

func (p piece) hole() bool { return p.size == 0 }

// blocksOf returns how many blocks a file has beside its fragment.
func (f *fileSystem) blocksOf(i *inode) int64 {
	n := i.attr.Size / f.blockSize
	if i.frag == none && i.attr.Size%f.blockSize != 0 {
		n++
	}
	return n
}

// piece returns block number index of a file. The sizes before it are added up, from where the last
// read of this file ended.
func (f *fileSystem) piece(ctx context.Context, i *inode, index int64) (piece, error) {
	m := mark{at: int64(i.start), sizes: i.rest}
	f.mu.Lock()
	if last, ok := f.marks[i.attr.ID]; ok && last.index <= index {
		m = last
	}
	f.mu.Unlock()
	var buf [1024]byte
	for m.index < index {
		b := buf[:4*min(index-m.index, int64(len(buf)/4))]
		if err := m.sizes.read(ctx, b); err != nil {
			return piece{}, err
		}
		for ; len(b) > 0; b = b[4:] {
			m.at += int64(le.Uint32(b) & 0xFFFFFF)
			m.index++
		}
		if m.at < 0 || m.at > f.src.Size() {
			return piece{}, disk.Corrupt(name, fmt.Sprintf("inode 0x%x", uint64(i.attr.ID)), "block %d is after the end of the disk", m.index)
		}
	}
	f.mu.Lock()
	if len(f.marks) >= maxMarks {
		clear(f.marks)
	}
	f.marks[i.attr.ID] = m
	f.mu.Unlock()
	b, err := m.sizes.next(ctx, 4)
	if err != nil {
		return piece{}, err
	}
	size := le.Uint32(b)
	return piece{m.at, int(size & 0xFFFFFF), size&(1<<24) == 0, min(f.blockSize, i.attr.Size-index*f.blockSize)}, nil
}

// data returns the decoded bytes of a piece.
func (f *fileSystem) data(ctx context.Context, p piece) ([]byte, error) {
	if b, ok := f.known(p.at); ok && int64(len(b.data)) >= p.fill {
		return b.data, ctx.Err()
	}
	data, err := f.stored(ctx, p.at, p.size, p.packed, f.blockSize, false)
	if err == nil && int64(len(data)) < p.fill {
		err = disk.Corrupt(name, fmt.Sprintf("block at %d", p.at), "%d bytes decoded: at least %d are needed", len(data), p.fill)
	}
	if err != nil {
		return nil, err
	}
	f.keep(p.at, block{data: data})
	return data, nil
}

// fragment returns the end of a file that is in a fragment.
func (f *fileSystem) fragment(ctx context.Context, i *inode) ([]byte, error) {
	if i.frag >= le.Uint32(f.raw[16:]) {
		return nil, disk.Corrupt(name, fmt.Sprintf("inode 0x%x", uint64(i.attr.ID)), "fragment %d of %d", i.frag, le.Uint32(f.raw[16:]))
	}
	e, err := f.entry(ctx, f.table(fragmentTable), uint64(i.frag), 16)
	if err != nil {
		return nil, err
	}
	size, n := le.Uint32(e[8:]), i.attr.Size%f.blockSize
	data, err := f.data(ctx, piece{int64(le.Uint64(e) &^ (1 << 63)), int(size & 0xFFFFFF), size&(1<<24) == 0, int64(i.offset) + n})
	if err != nil {
		return nil, err
	}
	return data[i.offset : int64(i.offset)+n], nil
}

// file returns the inode of a regular file.
func (f *fileSystem) file(ctx context.Context, id tree.ID) (*inode, error) {
	i, err := f.inode(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case i.attr.IsDir():
		return nil, tree.ErrIsDir
	case i.attr.Type() != tree.TypeFile:
		return nil, tree.ErrNotFile
	}
	return i, nil
}

func (f *fileSystem) ReadAt(ctx context.Context, id tree.ID, p []byte, off int64) (int, error) {
	i, err := f.file(ctx, id)
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, errors.New("squashfs: read at a negative offset")
	}
	whole := len(p)
	p = p[:max(0, min(int64(whole), i.attr.Size-off))]
	done := 0
	for done < len(p) {
		n, err := f.readBlock(ctx, i, p[done:], off+int64(done))
		if err != nil {
			return done, err
		}
		done += n
	}
	if done < whole {
		return done, io.EOF
	}
	return done, nil
}

// readBlock reads up to the end of one block.
func (f *fileSystem) readBlock(ctx context.Context, i *inode, p []byte, off int64) (int, error) {
	index, from := off/f.blockSize, off%f.blockSize
	if index >= f.blocksOf(i) {
		data, err := f.fragment(ctx, i)
		if err != nil {
			return 0, err
		}
		return copy(p, data[from:]), nil
	}
	b, err := f.piece(ctx, i, index)
	if err != nil {
		return 0, err
	}
	p = p[:min(int64(len(p)), b.fill-from)]
	if b.hole() {
		clear(p)
		return len(p), ctx.Err()
	}
	data, err := f.data(ctx, b)
	if err != nil {
		return 0, err
	}
	return copy(p, data[from:b.fill]), nil
}

// Extent returns blocks of no size as zeros, at most 1,024 of one state at once.
func (f *fileSystem) Extent(ctx context.Context, id tree.ID, off, n int64) (formats.Extent, error) {
	i, err := f.file(ctx, id)
	if err != nil {
		return formats.Extent{}, err
	}
	e := formats.Extent{Off: off, State: formats.Data}
	for index := off / f.blockSize; e.Len < n && index < off/f.blockSize+1024; index++ {
		state, end := formats.Data, i.attr.Size
		if index < f.blocksOf(i) {
			b, err := f.piece(ctx, i, index)
			if err != nil {
				return e, err
			}
			if b.hole() {
				state = formats.Zero
			}
			end = index*f.blockSize + b.fill
		}
		if e.Len > 0 && state != e.State {
			break
		}
		e.State, e.Len = state, min(n, end-off)
	}
	return e, nil
}
