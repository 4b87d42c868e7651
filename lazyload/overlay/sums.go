package overlay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/imsfs/imsfs/formats"
)

// sums is the third file of a delta: a word of 8 bytes for each unit, with its state and the CRC-32C of its bytes. The
// file is mapped, so a word that was stored outlives the process. After a kill it is newer than the bitmap. After a power
// cut, when parts of it may be older than others, all of it is dropped.
//
// A word is 0 until its unit is first written or zeroed. Else its bits are, from the lowest: the sum (32; 0: none), the
// state and 1 (2), and a check of these and the unit's number (30).
type sums struct {
	file  File
	boot  string // identifies the run of the kernel
	bytes []byte // the mapping
	words []atomic.Uint64
	bare  bool // the delta had content before it had sums: a word of 0 tells nothing

	reserving sync.Mutex
	reserved  []atomic.Uint64 // a bit a page: it has space on disk
	windows   []atomic.Uint64 // a bit a window: it was used since the last release
	used      atomic.Int64    // windows
}

// mapped is a File that can be mapped into memory.
type mapped interface {
	// Map makes the file size bytes long and maps it.
	Map(size int64) ([]byte, error)
	Unmap(b []byte) error
	// Release gives back the memory of a mapping, and keeps its content.
	Release(b []byte) error
	// Reserve makes a range have space on disk, so that a store to it cannot fail.
	Reserve(off, n int64) error
}

const (
	sumsMagic   = "imsfs sums 1\n"
	sumsHead    = pageSize
	wordSize    = 8
	bootSize    = 64
	wordsOfPage = pageSize / wordSize
	windowWords = 8192 // the kernel maps up to 64 KiB around a page that is read
	windowsMost = 96   // 6 MiB of memory, for 3 GiB of disk

	// The header is one sector, twice, at 0 and at 2048: magic, flags, the sequence number of the delta's header that sealed it, boot, checksum.
	sumsFlags = 16
	sumsSeq   = 24
	sumsBoot  = 32
	sumsCheck = 96
	isBare    = 1
)

// openSums maps the file. trusted reports whether its words count: the kernel ran on since they were stored, or the delta
// was sealed with them.
func openSums(f File, boot string, d *delta) (s *sums, trusted bool, err error) {
	m, ok := f.(mapped)
	if !ok {
		return nil, false, nil
	}
	s = &sums{file: f, boot: boot}
	head := make([]byte, sumsHead)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	good := s.parseHeader(head)
	if !good {
		second := head[sumsHead/2:]
		if good = s.parseHeader(second); good {
			head = second
		}
	}
	if !good && !d.clean && !formats.IsZero(head) {
		return nil, false, &DamagedError{File: d.Name + " (its checksums)", Rule: "the checksum of its header does not match"}
	}
	if good {
		sealed := binary.LittleEndian.Uint64(head[sumsSeq:])
		theirs := string(bytes.TrimRight(head[sumsBoot:][:bootSize], "\x00"))
		trusted = d.clean && sealed == d.seq || !d.clean && boot != "" && theirs == boot
	}
	if !trusted {
		s.bare = !d.clean || d.hasPages()
		if err := f.Truncate(0); err != nil {
			return nil, false, err
		}
	}
	if err := s.remap(m, d.size); err != nil { // a file system that maps nothing
		return nil, false, nil
	}
	return s, trusted, nil
}

func (s *sums) parseHeader(b []byte) bool {
	if string(b[:len(sumsMagic)]) != sumsMagic || binary.LittleEndian.Uint32(b[sumsCheck:]) != checksum(b[:sumsCheck]) {
		return false
	}
	s.bare = b[sumsFlags]&isBare != 0
	return true
}

// writeHeader binds the words to a sealed delta; seq is 0 while it is written to.
func (s *sums) writeHeader(seq uint64) error {
	b := make([]byte, sumsHead)
	copy(b, sumsMagic)
	if s.bare {
		b[sumsFlags] = isBare
	}
	binary.LittleEndian.PutUint64(b[sumsSeq:], seq)
	copy(b[sumsBoot:][:bootSize], s.boot)
	binary.LittleEndian.PutUint32(b[sumsCheck:], checksum(b[:sumsCheck]))
	copy(b[sumsHead/2:], b[:sumsCheck+4])
	_, err := s.file.WriteAt(b, 0)
	return err
}

func (s *sums) remap(m mapped, size int64) error {
	if s.bytes != nil {
		if err := m.Unmap(s.bytes); err != nil {
			return err
		}
		s.bytes, s.words = nil, nil
	}
	n := sumsHead + (units(size)+wordsOfPage-1)/wordsOfPage*pageSize
	b, err := m.Map(n)
	if err != nil {
		return err
	}
	s.bytes = b
	if count := (n - sumsHead) / wordSize; count > 0 {
		s.words = unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&b[sumsHead])), count)
	}
	s.reserved = make([]atomic.Uint64, len(s.words)/wordsOfPage/64+1)
	s.windows = make([]atomic.Uint64, len(s.words)/windowWords/64+1)
	s.used.Store(0)
	return s.clearEnd(units(size))
}

// clearEnd makes the words past the last unit 0: a disk that grows again must not find them.
func (s *sums) clearEnd(end int64) (err error) {
	defer guard(debug.SetPanicOnFault(true), &err)
	for u := end; u < int64(len(s.words)); u++ {
		if at := s.at(u); at.Load() != 0 {
			at.Store(0)
		}
	}
	return nil
}

// resize gives the words another number of units. Nothing else may be running.
func (s *sums) resize(size int64) error {
	if s == nil {
		return nil
	}
	return s.remap(s.file.(mapped), size)
}

func (s *sums) close() error {
	if s == nil {
		return nil
	}
	var err error
	if s.bytes != nil {
		err = s.file.(mapped).Unmap(s.bytes)
	}
	return err
}

// reserve makes the words of units [u, end) have space on disk.
func (s *sums) reserve(u, end int64) error {
	if s == nil {
		return nil
	}
	for page := u / wordsOfPage; page <= (end-1)/wordsOfPage; page++ {
		at, bit := &s.reserved[page/64], uint64(1)<<(page%64)
		if at.Load()&bit != 0 {
			continue
		}
		if err := s.reservePage(page, at, bit); err != nil {
			return err
		}
	}
	return nil
}

func (s *sums) reservePage(page int64, at *atomic.Uint64, bit uint64) error {
	s.reserving.Lock()
	defer s.reserving.Unlock()
	if at.Load()&bit != 0 {
		return nil
	}
	err := s.file.(mapped).Reserve(sumsHead+page*pageSize, pageSize)
	if err == nil {
		at.Or(bit)
	}
	return err
}

// guard turns a fault of the mapping into an error: the file was cut, or its disk fails.
func guard(was bool, err *error) {
	debug.SetPanicOnFault(was)
	r := recover()
	if r == nil {
		return
	}
	fault, ok := r.(interface {
		error
		Addr() uintptr
	})
	if !ok {
		panic(r) // bug: the panic is not a fault of the mapping, so the guarded code has a mistake
	}
	*err = fmt.Errorf("the checksums of a delta cannot be used: %w", fault)
}

// touch counts the windows of the mapping that are used, and gives all back when they are too many.
func (s *sums) touch(u int64) {
	w := u / windowWords
	at, bit := &s.windows[w/64], uint64(1)<<(w%64)
	if at.Load()&bit != 0 {
		return
	}
	at.Or(bit)
	if s.used.Add(1) <= windowsMost {
		return
	}
	s.used.Store(0)
	for i := range s.windows {
		s.windows[i].Store(0)
	}
	_ = s.file.(mapped).Release(s.bytes)
}

func (s *sums) at(u int64) *atomic.Uint64 { return &s.words[u] }

// put stores the words of units [u, end): a state and the sums of their bytes, which sum returns. Their space must be
// reserved.
func (s *sums) put(u, end int64, st state, sum func(u int64) uint32) (err error) {
	if s == nil {
		return nil
	}
	defer guard(debug.SetPanicOnFault(true), &err)
	for end = min(end, int64(len(s.words))); u < end; u++ {
		s.touch(u)
		s.at(u).Store(word(u, st, sum(u)))
	}
	return nil
}

// unsum takes back the sums of units that are about to change.
func (s *sums) unsum(u, end int64) (err error) {
	if s == nil {
		return nil
	}
	defer guard(debug.SetPanicOnFault(true), &err)
	for ; u < end; u++ {
		s.touch(u)
		if at := s.at(u); uint32(at.Load()) != 0 {
			at.Store(word(u, written, 0))
		}
	}
	return nil
}

// get copies the sums of units from u on; 0 where there is none.
func (s *sums) get(u int64, into []uint32) (err error) {
	clear(into)
	if s == nil {
		return nil
	}
	defer guard(debug.SetPanicOnFault(true), &err)
	for i := range into {
		s.touch(u + int64(i))
		w := s.at(u + int64(i)).Load()
		if st, sum, good := parseWord(u+int64(i), w); good && st == written {
			into[i] = sum
		}
	}
	return nil
}

// word makes the word of a unit.
func word(u int64, st state, sum uint32) uint64 {
	low := uint64(sum) | (uint64(st)+1)<<32
	return low | check(u, low)<<34
}

func check(u int64, low uint64) uint64 {
	h := (low ^ uint64(u)*0x9E37_79B9_7F4A_7C15) * 0xD6E8_FEB8_6659_FD93
	h ^= h >> 32
	h *= 0xD6E8_FEB8_6659_FD93
	return h >> 34
}

// parseWord splits a word that is not 0; good is false if it is damaged.
func parseWord(u int64, w uint64) (st state, sum uint32, good bool) {
	low := w & (1<<34 - 1)
	st = state(low>>32) - 1
	return st, uint32(w), low>>32 != 0 && w == low|check(u, low)<<34
}

// sumOf is the sum of a unit's bytes; never 0.
func sumOf(p []byte) uint32 {
	if sum := crc32.Checksum(p, castagnoli); sum != 0 {
		return sum
	}
	return 1
}

// none is the sum of units that have none.
func none(int64) uint32 { return 0 }

// sumsIn returns the sums of units whose bytes begin at off in p.
func sumsIn(p []byte, off int64) func(u int64) uint32 {
	return func(u int64) uint32 {
		at := u*Unit - off
		return sumOf(p[at:min(at+Unit, int64(len(p)))])
	}
}
