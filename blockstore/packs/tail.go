package packs

import (
	"encoding/binary"
	"fmt"
)

// tail is the end of the last pack, where records are appended. The writer's lock guards it. The
// database holds its state and the counts, and updates them together with the index entries.
type tail struct {
	files *files
	limit int64 // a pack this long gets no more records

	pack uint32 // 0: there is none yet
	end  int64  // just past the last record in the index

	f       file // nil: the next append makes a new pack
	buf     []byte
	written int64 // just past the last byte written
	unsure  bool  // a sync failed
}

// flushAt is the number of bytes that are written at once.
const flushAt = 4 << 20

// current reports whether the pack takes records. A pack of an older version does not, because
// older programs could not read them.
func (t *tail) current() (bool, error) {
	if t.f == nil {
		return false, nil
	}
	b := make([]byte, packHead)
	if _, err := t.f.ReadAt(b, 0); err != nil {
		return false, fmt.Errorf("header of %s: %w", t.files.path(t.pack), err)
	}
	return string(b) == string(header(t.pack)), nil
}

// append adds a record and returns its place. The record counts only after sync.
func (t *tail) append(record []byte) (pack uint32, off int64, err error) {
	if t.f != nil && t.written+int64(len(t.buf)) >= t.limit {
		if err := t.sync(); err != nil {
			return 0, 0, err
		}
		t.f = nil
	}
	if t.f == nil {
		f, err := t.files.create(t.pack + 1)
		if err != nil {
			return 0, 0, fmt.Errorf("new pack: %w", err)
		}
		t.pack, t.f, t.end, t.written = t.pack+1, f, packHead, packHead
	}
	pack, off = t.pack, t.written+int64(len(t.buf))
	if t.buf = append(t.buf, record...); len(t.buf) >= flushAt {
		err = t.flush()
	}
	return pack, off, err
}

func (t *tail) flush() error {
	if _, err := t.f.WriteAt(t.buf, t.written); err != nil {
		return fmt.Errorf("append to %s: %w", t.files.path(t.pack), err)
	}
	t.written += int64(len(t.buf))
	t.buf = t.buf[:0]
	return nil
}

// sync writes and syncs all appended records.
func (t *tail) sync() error {
	if t.f == nil || len(t.buf) == 0 && t.written == t.end {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := t.f.Sync(); err != nil {
		t.unsure = true
		return fmt.Errorf("sync %s: %w", t.files.path(t.pack), err)
	}
	return nil
}

// commit keeps the synced records. It is called when the index has them, or may have them.
func (t *tail) commit() { t.end = t.written }

// abandon drops the records that were appended since the last commit. A failed sync leaves the
// file's end unknown, so that the pack gets no more records. A sweep frees the rest of it.
func (t *tail) abandon() {
	t.buf = t.buf[:0]
	if t.f == nil {
		return
	}
	if err := t.f.Truncate(t.end); err != nil || t.unsure {
		t.f = nil
	}
	t.written, t.unsure = t.end, false
}

const tailKey = "packs/tail"

// counts are kept with the tail.
type counts struct{ blocks, stored int64 }

// encode returns the value of tailKey: pack, end, blocks, and bytes of all indexed records.
func (t *tail) encode(c counts) []byte {
	b := binary.LittleEndian.AppendUint32(nil, t.pack)
	for _, v := range []int64{t.written, c.blocks, c.stored} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return b
}

const tailLen = 28

func (t *tail) decode(b []byte) (counts, error) {
	if len(b) != tailLen {
		return counts{}, fmt.Errorf("the record at key %q has %d bytes", tailKey, len(b))
	}
	t.pack = binary.LittleEndian.Uint32(b)
	t.end = int64(binary.LittleEndian.Uint64(b[4:]))
	t.written = t.end
	return counts{int64(binary.LittleEndian.Uint64(b[12:])), int64(binary.LittleEndian.Uint64(b[20:]))}, nil
}
