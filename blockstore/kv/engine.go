package kv

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// settings keep Badger's memory small, because the whole process must stay within 64 MiB.
func settings(dir string, log *slog.Logger) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(logger{log}).
		WithSyncWrites(true).
		WithMetricsEnabled(false).
		// A memtable takes memory twice, as an arena and as a mapped log, and unflushed
		// ones count too. After 60,000 synced updates the peak of the process was 108 MiB
		// with 8 MiB, 80 with 4 and 49 with 2. A transaction may take 15 % of it: 300 KiB,
		// about 3000 entries.
		WithMemTableSize(2 << 20).
		WithNumMemtables(1).
		// Values below the threshold stay out of the value log, so that its files stay
		// empty and small.
		WithValueThreshold(MaxValue + 1).
		WithValueLogFileSize(1 << 20).
		// Uncompressed blocks are read from the mapping, so a block cache would only be a
		// second copy.
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(4 << 20).
		WithBaseTableSize(2 << 20).
		WithNumCompactors(2).
		WithNumVersionsToKeep(1).
		WithDetectConflicts(true).
		WithCompactL0OnClose(true).
		// OnTableRead is not used, because Badger silently leaves out a table that fails
		// that check.
		WithChecksumVerificationMode(options.OnBlockRead)
}

// dropStillborn removes logs that a kill left empty. They never held anything, and Badger does not
// open a directory that has one ("Create a new file").
func dropStillborn(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); ext != ".mem" && ext != ".vlog" {
			continue
		}
		info, err := e.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openBadger opens the database. It turns Badger's panics on bad files into errors if they happen
// on this goroutine.
func openBadger(dir string, log *slog.Logger) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, damaged("the database cannot be opened: %v", r)
		}
	}()
	db, err = badger.Open(settings(dir, log))
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return db, nil
}

// logger writes Badger's messages to slog. Routine messages have the debug level.
type logger struct{ log *slog.Logger }

func (l logger) Errorf(format string, args ...any)   { l.say(slog.LevelError, format, args) }
func (l logger) Warningf(format string, args ...any) { l.say(slog.LevelWarn, format, args) }
func (l logger) Infof(format string, args ...any)    { l.say(slog.LevelDebug, format, args) }
func (l logger) Debugf(format string, args ...any)   { l.say(slog.LevelDebug, format, args) }

func (l logger) say(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}
