package vmdk

import (
	"context"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/codec"
)

// streamOverHead is where grains start, as in VMware's files.
const streamOverHead = 128

// streamEncoder writes streamOptimized as VMware's tools do: after the grains of a table a marker
// and the table; at the end the directory, the footer and the end-of-stream marker. A table gets
// its room when the next grain is placed, and its content in Finish.
type streamEncoder struct {
	written
	zlib *codec.ZlibEncoder
}

var (
	_ formats.Encoder   = (*streamEncoder)(nil)
	_ formats.Estimator = (*streamEncoder)(nil)
)

func newStreamEncoder(w written, z *codec.ZlibEncoder) *streamEncoder {
	w.header.version = 3
	w.header.flags |= flagCompressed | flagMarkers
	w.header.compressAlgorithm = algorithmDeflate
	w.header.overHead = streamOverHead
	w.end = streamOverHead
	return &streamEncoder{w, z}
}

// Room is 0, because only compressing the disk shows its size.
func (*streamEncoder) Room(int64) int64 { return 0 }

func (e *streamEncoder) Encode(dst, plain []byte, ci int64) ([]byte, error) {
	if err := e.check(plain, ci); err != nil {
		return nil, err
	}
	b, err := e.zlib.Encode(append(dst[:0], make([]byte, grainMarkerSize)...), plain)
	if err != nil {
		return nil, fmt.Errorf("vmdk: %w", err)
	}
	return encodeGrain(b, uint64(ci)*grainSectors), nil
}

func (e *streamEncoder) Place(ci int64, n int) (int64, error) {
	if n <= 0 || n%sector != 0 || n > 2*grainBytes {
		return 0, fmt.Errorf("vmdk: %d bytes for grain %d: it must be whole sectors, at most twice a grain", n, ci)
	}
	return e.place(ci, int64(n/sector), e.closeTable)
}

// closeTable makes room for the last table and its marker.
func (e *streamEncoder) closeTable() {
	if t := e.table(); t != nil && t.at == 0 {
		t.at = e.end + 1
		e.end = t.at + tableSectors
	}
}

func (e *streamEncoder) Finish(ctx context.Context, dst formats.Target) error {
	e.closeTable()
	for _, t := range e.tables {
		if err := e.marked(ctx, dst, markerTable, t.at-1, t.encode(), "grain table"); err != nil {
			return err
		}
	}
	gd := e.end + 1
	if gd > maxSector {
		return fmt.Errorf("vmdk: the grain directory would be past 2 TiB, where the format's sector numbers of 32 bits end; qcow2, vhdx and raw hold more")
	}
	if err := e.marked(ctx, dst, markerDirectory, gd-1, e.directory(), "grain directory"); err != nil {
		return err
	}
	h := e.header
	h.gdOffset = uint64(gd)
	at := gd + e.directorySectors()
	if err := e.marked(ctx, dst, markerFooter, at, h.encode(), "footer"); err != nil {
		return err
	}
	if err := put(ctx, dst, marker{kind: markerEOS}.encode(), at+2, "end-of-stream marker"); err != nil {
		return err
	}
	h.gdOffset = gdAtEnd
	if err := e.front(ctx, dst, h); err != nil {
		return err
	}
	return truncate(dst, at+3)
}

// marked writes a marker at a sector and b after it.
func (e *streamEncoder) marked(ctx context.Context, dst formats.Target, kind uint32, at int64, b []byte, what string) error {
	m := marker{sectors: uint64(len(b) / sector), kind: kind}
	return put(ctx, dst, append(m.encode(), b...), at, what)
}
