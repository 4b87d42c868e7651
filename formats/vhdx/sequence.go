package vhdx

import (
	"cmp"
	"fmt"
	"slices"
)

// logScan is the content of a log.
type logScan struct {
	ring    ring
	entries map[int]logEntry // the valid ones with the header's GUID, by position
	fault   string           // the first sector that should be an entry and is not, and why
	faultAt int
}

// scan looks at every sector for an entry. Entries of other GUIDs are older than the last time that
// the log was emptied; they only matter if they are damaged, because then it may be the GUID that
// is.
func scan(r ring, log guid) *logScan {
	s := &logScan{ring: r, entries: map[int]logEntry{}}
	budget := 4 * len(r)
	for pos := 0; pos < len(r); pos += logSector {
		b := r.sector(pos)
		signed, ours := string(b[:4]) == "loge", guid(b[32:48]) == log
		if !signed && !ours {
			continue
		}
		e, fault := logEntry{}, fmt.Sprintf("signature is %q, must be \"loge\"", b[:4])
		if signed {
			e, fault = r.decode(pos, &budget)
		}
		if fault == "" && ours {
			s.entries[pos] = e
		}
		if fault != "" && s.fault == "" {
			s.fault, s.faultAt = fault, pos
		}
	}
	return s
}

// active returns the newest complete sequence, from its tail to its head: the entries that must be
// replayed. An empty log has none, and no fault either: qemu leaves such a log if it ends between
// naming it and writing to it.
func (s *logScan) active() (sequence []logEntry, at int, fault string) {
	if len(s.entries) == 0 {
		if s.fault != "" {
			return nil, s.faultAt, "not empty, and no entry is whole: " + s.fault
		}
		return nil, 0, ""
	}
	for _, head := range s.heads() {
		chain := s.chain(head)
		switch {
		case chain == nil:
		case sequence == nil:
			sequence = chain
		case head.sequence == sequence[len(sequence)-1].sequence:
			return nil, head.pos, fmt.Sprintf("two sequences end with the sequence_number %d", head.sequence)
		}
	}
	if sequence == nil {
		newest := s.heads()[0]
		return nil, newest.pos, fmt.Sprintf("no sequence of entries is complete: the newest entry, %d, says that its sequence starts at %#x of the log, and from there the entries do not lead to it", newest.sequence, newest.tail)
	}
	return sequence, 0, ""
}

// heads are the entries that none follows, the newest first.
func (s *logScan) heads() []logEntry {
	var heads []logEntry
	for _, e := range s.entries {
		if _, ok := s.next(e); !ok {
			heads = append(heads, e)
		}
	}
	slices.SortFunc(heads, func(a, b logEntry) int {
		return cmp.Or(cmp.Compare(b.sequence, a.sequence), cmp.Compare(a.pos, b.pos))
	})
	return heads
}

// next returns the entry that follows e, if it was written after it.
func (s *logScan) next(e logEntry) (logEntry, bool) {
	n, ok := s.entries[(e.pos+e.length)%len(s.ring)]
	return n, ok && n.sequence == e.sequence+1
}

// chain returns the entries from a head's tail to the head, nil if there is no way. Numbers grow
// along it, so it ends. Entries that take more room than the log has cannot all be whole.
func (s *logScan) chain(head logEntry) []logEntry {
	var chain []logEntry
	room := len(s.ring)
	e, ok := s.entries[head.tail]
	for ; ok; e, ok = s.next(e) {
		chain = append(chain, e)
		if room -= e.length; room < 0 {
			return nil
		}
		if e.pos == head.pos {
			return chain
		}
	}
	return nil
}
