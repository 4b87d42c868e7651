package kv

import (
	"bufio"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childDir is set for the child process, which is a copy of this test binary. It is the store's
// directory.
const childDir = "IMSFS_TEST_KV_CHILD"

// childCycles makes the child open and close the store repeatedly instead of writing to it.
const childCycles = "IMSFS_TEST_KV_CYCLES"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		run := writeRecords
		if os.Getenv(childCycles) != "" {
			run = cycle
		}
		fmt.Fprintln(os.Stderr, run(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// padding makes the records fill a memtable every few hundred, so that kills also meet flushes and
// compactions.
var padding = strings.Repeat("p", 8<<10)

// writeRecords writes records until it is killed. It prints the key of each acknowledged one.
func writeRecords(dir string) error {
	db, err := Open(dir, Options{})
	for i := 0; err == nil; i++ {
		key := fmt.Sprintf("%d/%d", os.Getpid(), i)
		err = db.Update(func(tx *WriteTx) error { return tx.Set([]byte(key), []byte(key+padding)) })
		if err == nil {
			fmt.Println(key)
		}
	}
	return err
}

// cycle opens the store, increments a counter and closes it, until it is killed. In between it
// prints "tick" as fast as it can, so that a kill after some lines may come at any point of opening
// and closing.
func cycle(dir string) error {
	go func() {
		for {
			fmt.Println("tick")
		}
	}()
	for {
		db, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		var n int
		err = db.Update(func(tx *WriteTx) error {
			v, err := tx.Get([]byte("n"))
			if err != nil && !errors.Is(err, iofs.ErrNotExist) {
				return err
			}
			n, _ = strconv.Atoi(string(v))
			n++
			return tx.Set([]byte("n"), []byte(strconv.Itoa(n)))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
		if err := db.Close(); err != nil {
			return err
		}
	}
}

// runAndKill starts a child and kills it after n lines of its output. It calls heard for each line.
func runAndKill(t *testing.T, n int, heard func(line string), env ...string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hang := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer hang.Stop()
	said := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		heard(lines.Text())
		if said++; said == n {
			cmd.Process.Kill()
		}
	}
	cmd.Wait()
	if said < n {
		t.Fatalf("the child said only %d lines of %d", said, n)
	}
}

func TestKillLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []string
	for round := range 6 {
		runAndKill(t, 20+130*round, func(line string) { acknowledged = append(acknowledged, line) }, childDir+"="+dir)

		db := mustOpen(t, dir)
		have := map[string]bool{}
		for _, record := range dump(t, db, "") {
			have[record] = true
		}
		for _, key := range acknowledged {
			if !have[key+"="+key+padding] {
				t.Fatalf("round %d: acknowledged record %s is gone; %d are there", round, key, len(have))
			}
		}
		if round%2 == 0 { // the next child meets a sealed store, and one that was never closed
			mustClose(t, db)
		} else if err := errors.Join(db.badger.Close(), db.lock.f.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestKillWhileOpeningAndClosing(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range 12 {
		dir, counted := filepath.Join(t.TempDir(), "store"), 0
		for range 2 { // a store that is being made, and one that was killed before
			runAndKill(t, 1+rnd.IntN(40000), func(line string) {
				if n, err := strconv.Atoi(line); err == nil {
					counted = n
				}
			}, childDir+"="+dir, childCycles+"=1")
		}
		db, err := Open(dir, Options{})
		if err != nil {
			t.Fatalf("seed %d, round %d: %v", seed, round, err)
		}
		have := 0
		if all := dump(t, db, "n"); len(all) == 1 {
			have, _ = strconv.Atoi(strings.TrimPrefix(all[0], "n="))
		}
		if have < counted {
			t.Errorf("seed %d, round %d: the store counts %d, acknowledged was %d", seed, round, have, counted)
		}
		mustClose(t, db)
	}
}

// TestStillbornLogs leaves empty logs, as a kill right after their creation does.
func TestStillbornLogs(t *testing.T) {
	dir := filled(t)
	if err := os.Remove(filepath.Join(dir, sealFile)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"00009.mem", "000009.vlog"} {
		write(t, filepath.Join(dir, dbDir, name), "")
	}
	db := mustOpen(t, dir)
	defer mustClose(t, db)
	if n := len(dump(t, db, "")); n != 600 {
		t.Errorf("%d records, want 600", n)
	}
}
