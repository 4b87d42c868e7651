package kv

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	iofs "io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/google/renameio/v2"
)

// check looks for damage in db/ and changes nothing. Badger hides damage: it leaves out a table
// that fails its checksum, cuts a log at the first bad byte, and deletes tables that a shortened
// manifest does not name. A cleanly closed store has a seal and must match it. A killed store has
// none. Then the manifest and the tables must be whole, and Badger may cut the end of the log.
func check(dir string) error {
	want, err := os.ReadFile(filepath.Join(dir, sealFile))
	if errors.Is(err, iofs.ErrNotExist) {
		return checkAll(dir)
	}
	if err != nil {
		return err
	}
	have, err := contents(filepath.Join(dir, dbDir))
	if err != nil {
		return err
	}
	return compare(string(want), have)
}

// contents lists the files of db/, a line each: name, size, CRC-32C.
func contents(db string) (string, error) {
	entries, err := os.ReadDir(db) // in the order of names
	if err != nil {
		return "", err
	}
	var list strings.Builder
	for _, e := range entries {
		sum, size, err := checksum(filepath.Join(db, e.Name()))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&list, "%s %d %08x\n", e.Name(), size, sum)
	}
	return list.String(), nil
}

func checksum(path string) (sum uint32, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err = io.Copy(h, f)
	return h.Sum32(), size, err
}

// compare returns an error for the first file that differs from the seal.
func compare(want, have string) error {
	found := map[string]string{}
	for line := range strings.Lines(have) {
		name, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		found[name] = state
	}
	const way = "restore the directory from a backup, or remove its file " + sealFile + " to open what is left"
	for line := range strings.Lines(want) {
		name, sealed, _ := strings.Cut(strings.TrimSpace(line), " ")
		state, ok := found[name]
		switch delete(found, name); {
		case !ok:
			return damaged("%s/%s is missing; %s", dbDir, name, way)
		case state != sealed:
			return damaged("%s/%s has size and checksum %s and was left with %s; %s", dbDir, name, state, sealed, way)
		}
	}
	for name := range found {
		return damaged("%s/%s was not there when the store was closed; %s", dbDir, name, way)
	}
	return nil
}

// seal records the state of db/ after a clean close. unseal removes the record before the first
// change.
func seal(dir string) error {
	list, err := contents(filepath.Join(dir, dbDir))
	if err != nil {
		return err
	}
	return errors.Join(renameio.WriteFile(filepath.Join(dir, sealFile), []byte(list), 0o600, renameio.WithTempDir(dir)), syncDir(dir))
}

func unseal(dir string) error {
	err := os.Remove(filepath.Join(dir, sealFile))
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDir(dir))
}

// checkTables reads the manifest and every table it names. It returns the number of the last
// transaction in them.
func checkTables(db string) (reached uint64, err error) {
	f, err := os.Open(filepath.Join(db, badger.ManifestFilename))
	if err != nil {
		return 0, damaged("%v; %s", err, remedy)
	}
	defer f.Close()
	opts := settings(db, nil)
	opts.Logger = nil
	m, _, err := badger.ReplayManifestFile(f, 0, opts)
	if err != nil {
		return 0, damaged("%s: %v; %s", f.Name(), err, remedy)
	}
	for id := range m.Tables {
		n, err := checkTable(db, id)
		if err != nil {
			return 0, err
		}
		reached = max(reached, n)
	}
	return reached, nil
}

// checkTable verifies the checksums of a table. Badger's parser panics on some damaged files, with
// a dump of its state as the message.
func checkTable(db string, id uint64) (reached uint64, err error) {
	path := table.NewFilename(id, db)
	defer func() {
		if recover() != nil {
			err = damaged("%s: the table's index cannot be read; %s", path, remedy)
		}
	}()
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, damaged("%v; %s", err, remedy)
	}
	opts := settings(db, nil)
	t, err := table.OpenInMemoryTable(data, id, &table.Options{ChkMode: opts.ChecksumVerificationMode, BlockSize: opts.BlockSize})
	if err == nil {
		err = t.VerifyChecksum()
	}
	if err == nil {
		reached, err = tableNumber(t)
	}
	if err != nil {
		return 0, damaged("%s: %v; %s", path, err, remedy)
	}
	return reached, nil
}

// tableNumber returns the number of the last transaction that a table holds; 0 if it has none.
func tableNumber(t *table.Table) (uint64, error) {
	it := t.NewIterator(0)
	defer it.Close()
	it.Seek(y.KeyWithTs([]byte(numberKey), math.MaxUint64))
	if !it.Valid() || !y.SameKey(it.Key(), y.KeyWithTs([]byte(numberKey), 0)) {
		return 0, nil
	}
	return parseNumber(it.Value().Value)
}
