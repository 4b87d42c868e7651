package kv

import (
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// Every transaction carries its number, counted from 1, under numberKey. The witness is a file next
// to db/ with the number of the last acknowledged transaction. It is written after the sync and is
// not synced itself. It survives a kill exactly. After a power cut it may be too old, but it is
// never too new. So a log that ends before the witness's number has lost acknowledged transactions.
// See log.go.
const (
	numberKey   = "\x00kv/number"
	witnessFile = "synced"
	witnessSize = 16 // the number and its complement
)

// witness is the open file. DB.changing guards it.
type witness struct{ f *os.File }

func openWitness(dir string) (witness, error) {
	f, err := os.OpenFile(filepath.Join(dir, witnessFile), os.O_RDWR|os.O_CREATE, 0o600)
	return witness{f}, err
}

// note records that transaction n was acknowledged. If it fails, the file keeps an older number,
// which is still true.
func (w witness) note(n uint64) {
	b := binary.LittleEndian.AppendUint64(nil, n)
	b = binary.LittleEndian.AppendUint64(b, ^n)
	_, _ = w.f.WriteAt(b, 0)
}

func (w witness) close() error { return w.f.Close() }

// readWitness returns the number of the last acknowledged transaction. known is false if there is
// no valid witness.
func readWitness(dir string) (n uint64, known bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, witnessFile))
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return 0, false, err
	}
	if len(b) != witnessSize {
		return 0, false, nil
	}
	n = binary.LittleEndian.Uint64(b)
	return n, ^n == binary.LittleEndian.Uint64(b[8:]), nil
}

func parseNumber(value []byte) (uint64, error) {
	if len(value) != 8 {
		return 0, fmt.Errorf("the number of a transaction has %d bytes", len(value))
	}
	return binary.LittleEndian.Uint64(value), nil
}

// lastNumber returns the number of the last transaction, or 0 for a database without one.
func lastNumber(db *badger.DB) (n uint64, err error) {
	err = db.View(func(txn *badger.Txn) error {
		item, err := txn.Get([]byte(numberKey))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return item.Value(func(v []byte) error {
			n, err = parseNumber(v)
			return err
		})
	})
	return n, err
}

func setNumber(txn *badger.Txn, n uint64) error {
	return txn.Set([]byte(numberKey), binary.LittleEndian.AppendUint64(nil, n))
}
