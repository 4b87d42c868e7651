package codec

// An entry of a table: bits to take, extra bits to take after them, and their meaning.
const (
	entryBits    = 0xff // mask
	entryExtra   = 8    // shift, 4 bits
	entrySpecial = 1 << 14
	entryLink    = 1 << 13 // to a second table, with entrySpecial
	entryLiteral = 1 << 15
	entryValue   = 16 // shift
)

const (
	maxCodeBits  = 15
	literalBits  = 11 // of the first table's index
	distanceBits = 9
	// tableSize is more than enough: second tables for 288 words of more than 11 bits take 144
	// times 16 entries.
	tableSize = 1 << 13
)

// table finds the word with which bits begin: in a first table by their first bits, and for longer
// words in a second one.
type table struct {
	first, second uint // bits of their index
	used          uint32
	entries       [tableSize]uint32
}

// find returns the entry of the word; one with entrySpecial if there is none, or none with a
// meaning of its own.
func (t *table) find(b uint64) uint32 {
	e := t.entries[b&(1<<t.first-1)&(tableSize-1)]
	if e&entryLink != 0 {
		return t.linked(e, b)
	}
	return e
}

func (t *table) linked(e uint32, b uint64) uint32 {
	return t.entries[(uint64(e>>entryValue)+b>>t.first&(1<<t.second-1))&(tableSize-1)]
}

// build makes the table of a canonical code from the lengths of its words, 0 for none. It reports
// whether they make a code: each word has its place and no place is left. A single word, or none,
// is accepted too.
func (t *table) build(lengths []uint8, entry func(symbol int) uint32, first uint) bool {
	var count [maxCodeBits + 1]int
	longest := uint(0)
	for _, n := range lengths {
		count[n]++
		longest = max(longest, uint(n))
	}
	count[0] = 0
	var next [maxCodeBits + 2]uint32
	left := 1
	for n := 1; n <= maxCodeBits; n++ {
		if left = left<<1 - count[n]; left < 0 {
			return false
		}
		next[n+1] = (next[n] + uint32(count[n])) << 1
	}
	if left > 0 && longest > 1 {
		return false
	}
	t.first, t.second, t.used = first, max(longest, first)-first, 1<<first
	for i := range t.entries[:1<<first] {
		t.entries[i] = entrySpecial
	}
	for symbol, n := range lengths {
		if n > 0 {
			t.fill(reversed(next[n], uint(n)), uint(n), entry(symbol)|uint32(n))
			next[n]++
		}
	}
	return true
}

// fill sets the entries of all indices that begin with a word of n bits.
func (t *table) fill(word uint32, n uint, entry uint32) {
	if n <= t.first {
		for i := word; i < 1<<t.first; i += 1 << n {
			t.entries[i] = entry
		}
		return
	}
	link := &t.entries[word&(1<<t.first-1)]
	if *link&entryLink == 0 {
		*link = entrySpecial | entryLink | t.used<<entryValue
		for i := range t.entries[t.used : t.used+1<<t.second] {
			t.entries[t.used+uint32(i)] = entrySpecial
		}
		t.used += 1 << t.second
	}
	second := t.entries[*link>>entryValue:][:1<<t.second]
	for i := word >> t.first; i < 1<<t.second; i += 1 << (n - t.first) {
		second[i] = entry
	}
}

// plainEntry is a word that stands for itself.
func plainEntry(symbol int) uint32 { return uint32(symbol) << entryValue }

// literalEntry is a byte, the end of the block, or a length.
func literalEntry(symbol int) uint32 {
	switch {
	case symbol < endOfBlock:
		return entryLiteral | uint32(symbol)<<entryValue
	case symbol == endOfBlock || symbol > 285:
		return entrySpecial | uint32(symbol)<<entryValue
	case symbol == 285:
		return 258 << entryValue
	case symbol < 265:
		return uint32(symbol-257+3) << entryValue
	}
	extra := uint32(symbol-261) / 4
	return (uint32(symbol-261)%4+4)<<extra<<entryValue + 3<<entryValue | extra<<entryExtra
}

// distanceEntry is a distance.
func distanceEntry(symbol int) uint32 {
	switch {
	case symbol > 29:
		return entrySpecial
	case symbol < 4:
		return uint32(symbol+1) << entryValue
	}
	extra := uint32(symbol)/2 - 1
	return (uint32(symbol)%2+2)<<extra<<entryValue + 1<<entryValue | extra<<entryExtra
}
