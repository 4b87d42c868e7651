package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4/y"
)

// Badger reads its write-ahead logs (db/NNNNN.mem) up to the first bad byte, cuts them there and
// reports nothing. That is right for the transaction that a kill interrupted, but it loses records
// after damage. So this package reads the logs first, and changes nothing.
//
// A log is 20 bytes and then entries: meta (1 byte), user meta (1), lengths of key and value and an
// expiry (varints), key, value, and the CRC-32C of all that (4 bytes, most significant first). A
// key ends with its transaction's version. The last entry of a transaction has endOfTxn set and the
// version, in decimal, as its value. A length of 0 ends the log.
const (
	logHead   = 20
	inTxn     = 1 << 6
	endOfTxn  = 1 << 7
	logSuffix = ".mem"
	// logKey is longer than any key of this package.
	logKey = 4 << 10
)

// logEntry is one entry of a log.
type logEntry struct {
	meta       byte
	key, value []byte
	size       int
}

func (e logEntry) version() uint64 { return y.ParseTs(e.key) }

// parseEntry decodes the entry at the beginning of b; ok is false if there is no whole one.
func parseEntry(b []byte) (e logEntry, ok bool) {
	if len(b) < 2 {
		return e, false
	}
	at, lengths := 2, [3]uint64{}
	for i := range lengths {
		v, n := binary.Uvarint(b[at:min(len(b), at+10)])
		if n <= 0 {
			return e, false
		}
		lengths[i], at = v, at+n
	}
	klen, vlen := lengths[0], lengths[1]
	if klen < 8 || klen > logKey || vlen > MaxValue || uint64(len(b)-at) < klen+vlen+crc32.Size {
		return e, false
	}
	end := at + int(klen+vlen)
	if crc32.Checksum(b[:end], y.CastagnoliCrcTable) != binary.BigEndian.Uint32(b[end:]) {
		return e, false
	}
	return logEntry{b[0], b[at : at+int(klen)], b[at+int(klen) : end], end + crc32.Size}, true
}

// logRead is the result of reading a log.
type logRead struct {
	first, last uint64 // numbers of its transactions; 0 if none has one
	end         int    // of the last whole transaction
}

// readLog reads the whole transactions of a log, as Badger would.
func readLog(b []byte) (r logRead, err error) {
	r.end = min(logHead, len(b))
	version, number := uint64(0), uint64(0)
	for at := r.end; ; {
		e, ok := parseEntry(b[at:])
		if !ok {
			return r, nil
		}
		at += e.size
		switch {
		case e.meta&endOfTxn != 0:
			v, err := strconv.ParseUint(string(e.value), 10, 64)
			if err != nil || v != version {
				return r, nil
			}
			r.end = at
			if number != 0 {
				if r.first == 0 {
					r.first = number
				}
				r.last = number
			}
			version, number = 0, 0
		case e.meta&inTxn != 0 && (version == 0 || version == e.version()):
			version = e.version()
			if string(y.ParseKey(e.key)) == numberKey {
				if number, err = parseNumber(e.value); err != nil {
					return r, err
				}
			}
		default:
			return r, nil
		}
	}
}

// lostAfter reports whether the rest of a log holds entries of more than one transaction. A kill
// interrupts only one. The others were acknowledged, and a reader that stops before them loses
// them.
func lostAfter(rest []byte) bool {
	for len(rest) > 0 && rest[len(rest)-1] == 0 {
		rest = rest[:len(rest)-1]
	}
	rest = append(slices.Clip(rest), 0, 0, 0, 0) // a CRC may end with zeros
	version := uint64(0)
	for at := 0; at < len(rest); {
		e, ok := parseEntry(rest[at:])
		if !ok || e.meta&(inTxn|endOfTxn) == 0 {
			at++
			continue
		}
		if version != 0 && e.version() != version {
			return true
		}
		version = e.version()
		at += e.size
	}
	return false
}

// checkLogs reads the logs in order. reached is the number of the last transaction in the tables.
// The logs must continue from it without a gap, up to the witness's number.
func checkLogs(dir string, reached uint64) error {
	db := filepath.Join(dir, dbDir)
	logs, err := logFiles(db)
	if err != nil {
		return err
	}
	_, err = os.Stat(filepath.Join(dir, witnessFile))
	noWitness := errors.Is(err, iofs.ErrNotExist)
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r, err := readLog(b)
		switch {
		case err != nil:
			return damaged("%s: %v; %s", path, err, remedy)
		case noWitness && max(reached, r.last) > 0: // the operator removed it, to go on with the rest
			return nil
		case lostAfter(b[r.end:]):
			return damaged("%s: a checksum at or after byte %d does not match, and transactions follow that were acknowledged; %s", path, r.end, remedy)
		case r.first > reached+1:
			return damaged("%s: it begins with transaction %d, and the last one before it is %d; %s", path, r.first, reached, remedy)
		}
		reached = max(reached, r.last)
	}
	switch want, known, err := readWitness(dir); {
	case err != nil:
		return err
	case known && want > reached:
		return damaged("transaction %d was acknowledged, and the last one that can be read is %d; %s", want, reached, remedy)
	}
	return nil
}

// remedy tells the operator how to handle a damaged database.
const remedy = "restore the store from a backup, or make the database anew with imsfs store rebuild, " +
	"or remove the store's file " + witnessFile + " to go on without the records that cannot be read"

// logFiles returns the logs in the order of their numbers.
func logFiles(db string) ([]string, error) {
	entries, err := os.ReadDir(db)
	if err != nil {
		return nil, err
	}
	numbers := map[uint64]string{}
	var order []uint64
	for _, e := range entries {
		digits, ok := strings.CutSuffix(e.Name(), logSuffix)
		if n, err := strconv.ParseUint(digits, 10, 32); ok && err == nil {
			numbers[n] = filepath.Join(db, e.Name())
			order = append(order, n)
		}
	}
	slices.Sort(order)
	var paths []string
	for _, n := range order {
		paths = append(paths, numbers[n])
	}
	return paths, nil
}

// checkAll looks for damage in a database that was not closed cleanly.
func checkAll(dir string) error {
	reached, err := checkTables(filepath.Join(dir, dbDir))
	if err != nil {
		return err
	}
	if err := checkLogs(dir, reached); err != nil {
		return fmt.Errorf("after a kill: %w", err)
	}
	return nil
}
