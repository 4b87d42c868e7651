package formattest

import (
	"fmt"
	"io"

	"github.com/imsfs/imsfs/formats"
)

// Memory is a Target in memory. B is the file.
type Memory struct{ B []byte }

var _ formats.Target = (*Memory)(nil)

// WriteAt fills a gap before off with zeros.
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	if end := off + int64(len(p)); end > int64(len(m.B)) {
		m.B = append(m.B, make([]byte, end-int64(len(m.B)))...)
	}
	return copy(m.B[off:], p), nil
}

// Truncate fails if the file would grow, because a writer that leaves a hole at the end would not be noticed.
func (m *Memory) Truncate(size int64) error {
	if size > int64(len(m.B)) {
		return io.ErrUnexpectedEOF
	}
	m.B = m.B[:size]
	return nil
}

// Pattern returns n bytes for offset off of a disk, in which each sector names itself.
func Pattern(off, n int64) []byte {
	b := make([]byte, n)
	for i := int64(0); i < n; i += formats.SectorSize {
		s := b[i:min(i+formats.SectorSize, n)]
		text := fmt.Sprintf("sector %d at %d of the disk\n", (off+i)/formats.SectorSize, off+i)
		for len(s) > 0 {
			s = s[copy(s, text):]
		}
	}
	return b
}
