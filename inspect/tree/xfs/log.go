package xfs

import (
	"context"

	"github.com/imsfs/imsfs/inspect/disk"
	"github.com/imsfs/imsfs/inspect/tree"
)

const (
	recordMagic = 0xfeedbabe
	unmountFlag = 0x20
	sector      = 512
	// recordSectors is the longest record of a log, with its headers, in sectors.
	recordSectors = (256<<10 + 16<<10) / sector
)

// checkLog notes whether the log ends with the record that unmounting writes.
func (f *fileSystem) checkLog(ctx context.Context) error {
	if f.logStart == 0 {
		f.info.Notes = append(f.info.Notes, "the log is on another device: whether it is clean is not known")
		return nil
	}
	start, err := f.position(f.logStart, int64(f.logBlocks))
	if err != nil {
		return err
	}
	clean, err := f.logClean(ctx, start, int64(f.logBlocks)*f.blockSize/sector)
	if err != nil || clean {
		return err
	}
	if f.info.State == tree.Clean {
		f.info.State = tree.Dirty
	}
	f.info.Notes = append(f.info.Notes, "the log has changes and is not replayed: the newest files may be missing or old")
	return nil
}

// logClean finds the end of the log by its sectors' cycles: the first ones have one cycle more than
// the rest. Before that end is the last record.
func (f *fileSystem) logClean(ctx context.Context, start, sectors int64) (bool, error) {
	p := make([]byte, sector)
	read := func(i int64) error { return f.src.ReadMeta(ctx, p, start+i*sector) }
	cycle := func(i int64) (uint32, error) {
		err := read(i)
		if be32(p, 0) == recordMagic {
			return be32(p, 4), err
		}
		return be32(p, 0), err
	}
	if sectors < 2 {
		return false, disk.Corrupt("xfs", "log", "it has %d sectors", sectors)
	}
	first, err := cycle(0)
	if err != nil || first == 0 {
		return first == 0, err
	}
	low, high := int64(0), sectors // low has the first cycle; high is after the last sector that has
	for high-low > 1 {
		middle := (low + high) / 2
		c, err := cycle(middle)
		if err != nil {
			return false, err
		}
		if c == first {
			low = middle
		} else {
			high = middle
		}
	}
	for at := high - 1; at >= max(0, high-recordSectors); at-- {
		if err := read(at); err != nil {
			return false, err
		}
		if be32(p, 0) != recordMagic {
			continue
		}
		headers := int64(1)
		if size := int64(be32(p, 320)); be32(p, 8)&2 != 0 && size > 32<<10 {
			headers = (size + 32<<10 - 1) / (32 << 10)
		}
		length := (int64(be32(p, 12)) + sector - 1) / sector
		if be32(p, 40) != 1 || at+headers+length != high {
			return false, nil
		}
		err := read(at + headers)
		return p[9]&unmountFlag != 0, err
	}
	return false, nil
}
