package vmdk

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/tables"
)

const (
	magicVolatile   = 0xcafecafe
	seVersion       = 2<<32 | 1 // 2.1
	seGrain         = 8 * sector
	seTableBytes    = 64 * sector
	seEntrySize     = 8
	seTableGrains   = seTableBytes / seEntrySize
	seTableSpan     = seTableGrains * seGrain // bytes of the disk, 16 MiB
	seTableMark     = 0x1000_0000             // high half of a directory entry that names a table
	seKind          = 0xf << 60               // of a table entry
	seUnmapped      = 1 << 60                 // zeros: discarded by the guest
	seZero          = 2 << 60
	seAllocated     = 3 << 60
	seHeaderSectors = 2 // constant and volatile
)

// seSparse is an extent that ESX makes for snapshots on VMFS 6, and for those of disks larger than
// 2 TiB: a directory, tables and grains of 4 KiB, each kind in an area of its own.
type seSparse struct {
	file     file
	size     int64 // of the extent, bytes
	dirAt    int64 // bytes, like the following
	tablesAt int64
	grainsAt int64
	dir      []byte
	cache    *tables.Cache
}

// openSESparse opens an extent of so many sectors. left is how large its directory may be.
func openSESparse(ctx context.Context, f file, sectors, left, cacheBytes int64) (*seSparse, error) {
	b := make([]byte, headerSize)
	if f.Size() < seHeaderSectors*sector {
		return nil, f.corrupt(0, "header: the file has %d bytes, the headers take %d", f.Size(), seHeaderSectors*sector)
	}
	if err := f.read(ctx, b, 0, "header"); err != nil {
		return nil, err
	}
	u64 := func(off int) uint64 { return binary.LittleEndian.Uint64(b[off:]) }
	switch {
	case u64(8) != seVersion:
		return nil, f.unsupported("seSparse version %d.%d is not read, only 2.1", u64(8)>>32, uint32(u64(8)))
	case u64(24) != seGrain/sector || u64(32) != seTableBytes/sector:
		return nil, f.unsupported("seSparse with grains of %d sectors in tables of %d is not read, only 8 and 64", u64(24), u64(32))
	case u64(40) != 0:
		return nil, f.unsupported("seSparse flags %#x are not known", u64(40))
	case u64(16) != uint64(sectors):
		return nil, f.corrupt(16, "header: capacity is %d, must be the %d sectors of the descriptor", u64(16), sectors)
	}
	need := ceilDiv(sectors*sector, seTableSpan) * seEntrySize
	fileSectors := uint64(f.Size() / sector)
	switch {
	case need > left:
		return nil, f.corrupt(16, "header: the grain directories of all extents take more than %d bytes", maxDirectories)
	case !inside(u64(80), 1, fileSectors):
		return nil, f.corrupt(80, "header: volatile_header_offset is %d, must be within the file", u64(80))
	case !inside(u64(128), uint64(ceilDiv(need, sector)), fileSectors):
		return nil, f.corrupt(128, "header: grain_dir_offset is %d, must be such that %d bytes lie after the header and within the file", u64(128), need)
	case !inside(u64(144), 0, fileSectors):
		return nil, f.corrupt(144, "header: grain_tables_offset is %d, must be within the file", u64(144))
	case !inside(u64(192), 0, fileSectors):
		return nil, f.corrupt(192, "header: grains_offset is %d, must be within the file", u64(192))
	}
	s := &seSparse{
		file: f, size: sectors * sector, dirAt: int64(u64(128)) * sector, tablesAt: int64(u64(144)) * sector, grainsAt: int64(u64(192)) * sector,
		dir: make([]byte, need), cache: tables.New(f, f.where(), max(cacheBytes, seTableBytes), nil),
	}
	if err := s.volatile(ctx, int64(u64(80))*sector); err != nil {
		return nil, err
	}
	return s, f.read(ctx, s.dir, s.dirAt, "grain directory")
}

// volatile looks whether the file is consistent without its journal.
func (s *seSparse) volatile(ctx context.Context, at int64) error {
	b := make([]byte, 32)
	if err := s.file.read(ctx, b, at, "volatile header"); err != nil {
		return err
	}
	if got := binary.LittleEndian.Uint64(b); got != magicVolatile {
		return s.file.corrupt(at, "volatile header: magic is %#x, must be %#x", got, uint64(magicVolatile))
	}
	if binary.LittleEndian.Uint64(b[24:]) != 0 {
		return s.file.unsupported("an seSparse extent whose journal must be replayed is not read: open and close its disk on ESX first")
	}
	return nil
}

// tableAt is where table j lies; ok is false if there is none.
func (s *seSparse) tableAt(j int64) (at int64, ok bool, err error) {
	e := binary.LittleEndian.Uint64(s.dir[j*seEntrySize:])
	if e == 0 {
		return 0, false, nil
	}
	at = s.tablesAt + int64(uint32(e))*seTableBytes
	if e>>32 != seTableMark || at > s.file.Size()-seTableBytes {
		return 0, false, s.file.corrupt(s.dirAt+j*seEntrySize, "grain directory: entry %d is %#x, must be 0x10000000 and the number of a table within the file", j, e)
	}
	return at, true, nil
}

// grain decodes the entry of a grain into its state and, of Data, its place. problem says why the
// entry is wrong.
func (s *seSparse) grain(e uint64) (state formats.State, at int64, problem string) {
	switch {
	case e == 0:
		return formats.Unallocated, 0, ""
	case e&seKind == seUnmapped || e&seKind == seZero:
		return formats.Zero, 0, ""
	case e&seKind != seAllocated:
		return 0, 0, fmt.Sprintf("entry %#x is of no known kind", e)
	}
	number := e>>48&0xfff | e&(1<<48-1)<<12
	if number > uint64(s.file.Size()-s.grainsAt)/seGrain {
		return 0, 0, fmt.Sprintf("it is grain %d of the file of %d bytes, must lie within it", number, s.file.Size())
	}
	return formats.Data, s.grainsAt + int64(number)*seGrain, ""
}

// sePiece is a run of the disk in one state; Data lie in one piece in the file.
type sePiece struct {
	n     int64
	state formats.State
	at    int64
}

// piece finds the run of one state at off, at most n bytes and within one table.
func (s *seSparse) piece(ctx context.Context, off, n int64) (sePiece, error) {
	j := off / seTableSpan
	at, ok, err := s.tableAt(j)
	if err != nil {
		return sePiece{}, err
	}
	if !ok {
		for j++; j*seTableSpan < off+n && binary.LittleEndian.Uint64(s.dir[j*seEntrySize:]) == 0; j++ {
		}
		return sePiece{n: min(n, j*seTableSpan-off)}, nil
	}
	table, err := s.cache.Get(ctx, at, seTableBytes, "grain table")
	if err != nil {
		return sePiece{}, err
	}
	in := off % seGrain
	p := sePiece{n: -in}
	for i := off % seTableSpan / seGrain; i < seTableGrains && p.n < n; i++ {
		state, host, problem := s.grain(binary.LittleEndian.Uint64(table[i*seEntrySize:]))
		if problem == "" && state == formats.Data && host > s.file.Size()-min(seGrain, s.size-(j*seTableSpan+i*seGrain)) {
			problem = fmt.Sprintf("it is at %#x, must lie within the file of %d bytes", host, s.file.Size())
		}
		first := p.n < 0 || p.n == 0 && in == 0
		switch {
		case problem != "" && first:
			return p, s.file.corrupt(at+i*seEntrySize, "grain table: grain %d: %s", j*seTableGrains+i, problem)
		case first:
			p.state, p.at = state, host+in
		case problem != "" || state != p.state || state == formats.Data && host != p.at+p.n:
			p.n = min(p.n, n)
			return p, nil
		}
		p.n += seGrain
	}
	p.n = min(p.n, n)
	return p, nil
}

func (s *seSparse) extent(ctx context.Context, off, n int64) (formats.Extent, error) {
	p, err := s.piece(ctx, off, n)
	return formats.Extent{Off: off, Len: p.n, State: p.state}, err
}

func (s *seSparse) readAt(ctx context.Context, p []byte, off int64) error {
	for len(p) > 0 {
		found, err := s.piece(ctx, off, int64(len(p)))
		if err != nil {
			return err
		}
		if found.state != formats.Data {
			clear(p[:found.n])
		} else if err := s.file.read(ctx, p[:found.n], found.at, "grain"); err != nil {
			return err
		}
		p, off = p[found.n:], off+found.n
	}
	return nil
}

// check looks at every entry of every table. A grain or a table that two entries name is damage.
func (s *seSparse) check(ctx context.Context, found *formats.Findings) error {
	tablesUsed := formats.NewUsage((s.file.Size()-s.tablesAt)/seTableBytes + 1)
	grainsUsed := formats.NewUsage((s.file.Size()-s.grainsAt)/seGrain + 1)
	table := make([]byte, seTableBytes)
	for j := range int64(len(s.dir) / seEntrySize) {
		if err := ctx.Err(); err != nil {
			return err
		}
		at, ok, err := s.tableAt(j)
		if f := (*fault)(nil); asFault(err, &f) {
			found.Damage(f.problem.Off, "%s", f.problem.Text)
		}
		if !ok {
			continue
		}
		if tablesUsed.Use((at - s.tablesAt) / seTableBytes) {
			found.Damage(s.dirAt+j*seEntrySize, "%s: grain directory: entry %d names a table that another entry names", shorten(s.file.name), j)
			continue
		}
		if err := s.file.read(ctx, table, at, "grain table"); err != nil {
			return err
		}
		for i := range int64(seTableGrains) {
			state, host, problem := s.grain(binary.LittleEndian.Uint64(table[i*seEntrySize:]))
			g := j*seTableGrains + i
			switch {
			case problem != "":
			case state != formats.Data || g*seGrain >= s.size:
				continue
			case host > s.file.Size()-min(seGrain, s.size-g*seGrain):
				problem = fmt.Sprintf("it is at %#x, must lie within the file of %d bytes", host, s.file.Size())
			case grainsUsed.Use((host - s.grainsAt) / seGrain):
				problem = fmt.Sprintf("it is at %#x, where another grain is", host)
			default:
				continue
			}
			found.Damage(at+i*seEntrySize, "%s: grain table: grain %d: %s", shorten(s.file.name), g, problem)
		}
	}
	return nil
}
