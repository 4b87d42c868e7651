package packs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

// These variables are set for the child process, which is a copy of this test binary: the store's
// directory, and the seed and first disk of its steps. crashRounds raises the number of rounds.
const (
	crashDir    = "IMSFS_TEST_PACKS_CHILD"
	crashSeed   = "IMSFS_TEST_PACKS_SEED"
	crashFirst  = "IMSFS_TEST_PACKS_FIRST"
	crashRounds = "IMSFS_CRASH_ROUNDS"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, stepUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func number(name string) uint64 {
	n, _ := strconv.ParseUint(os.Getenv(name), 10, 64)
	return n
}

// stepUntilKilled takes random steps and prints "done" after each.
func stepUntilKilled(dir string) error {
	db, err := kv.Open(dir, kv.Options{})
	if err != nil {
		return err
	}
	s, err := Open(dir, db, small)
	if err != nil {
		return err
	}
	m, rnd := storetest.NewModel(number(crashFirst)), rand.New(rand.NewPCG(number(crashSeed), 0))
	for {
		if err := m.Step(context.Background(), rnd, s); err != nil {
			return err
		}
		fmt.Println("done")
	}
}

// killAfter starts the child and kills it some time after n steps. It returns the number of steps
// done.
func killAfter(t *testing.T, dir string, seed, first uint64, n int, late time.Duration) (done int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir, fmt.Sprintf("%s=%d", crashSeed, seed), fmt.Sprintf("%s=%d", crashFirst, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer time.AfterFunc(time.Minute, func() { cmd.Process.Kill() }).Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if done++; done == n {
			time.AfterFunc(late, func() { cmd.Process.Kill() })
		}
	}
	cmd.Wait()
	if done < n {
		t.Fatalf("seed %d: the child ended after %d steps of %d", seed, done, n)
	}
	return done
}

// replay returns the model after the given number of steps, and after one more.
func replay(t *testing.T, seed, first uint64, steps int) (before, after *storetest.Model) {
	t.Helper()
	s, m, rnd := mem.New(0), storetest.NewModel(first), rand.New(rand.NewPCG(seed, 0))
	for range steps {
		must(t, m.Step(t.Context(), rnd, s))
	}
	before = m.Clone()
	must(t, m.Step(t.Context(), rnd, s))
	return before, m
}

// TestKill repeatedly kills a process that is working on the store. The steps that it reported must
// be whole in the store; the next step may be there in part.
func TestKill(t *testing.T) {
	dir, rounds := t.TempDir(), 5
	if n := number(crashRounds); n > 0 {
		rounds = int(n)
	}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range rounds {
		first := uint64(round) * 100000
		stepSeed := rnd.Uint64()
		done := killAfter(t, dir, stepSeed, first, 1+rnd.IntN(120), time.Duration(rnd.IntN(20000))*time.Microsecond)
		before, after := replay(t, stepSeed, first, done)

		s := openIn(t, dir, small)
		before.CheckBetween(t, s, after)
		if found := verify(t, s); len(found) > 0 {
			t.Fatalf("seed %d, round %d: %v", seed, round, found)
		}
		for disk := range after.Disks {
			must(t, s.Delete(disk))
		}
		for disk := range before.Disks {
			must(t, s.Delete(disk))
		}
		if round%3 == 2 { // the others leave their garbage, and the children sweep it
			_, err := s.Sweep(t.Context())
			must(t, err)
			if st, err := s.Stats(); err != nil || st.Blocks != 0 || st.Disks != 0 || st.Stored != 0 {
				t.Errorf("seed %d, round %d: when all is deleted: %+v, %v", seed, round, st, err)
			}
		}
		s.close(t)
	}
}

// TestTailIsIndexed adds blocks to a pack that are not in the database, as a kill can.
func TestTailIsIndexed(t *testing.T) {
	s := openIn(t, t.TempDir(), Options{})
	must(t, s.Create(1, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 1, 0, storetest.Block(1)))
	lost, _ := appendRecord(nil, newEncoder(t), blockKind, name(blockstore.IDOf(storetest.Block(2))), storetest.Block(2))
	torn, _ := appendRecord(nil, newEncoder(t), blockKind, name(blockstore.IDOf(storetest.Block(4))), storetest.Block(4))
	f, err := os.OpenFile(s.files.path(1), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.Write(append(lost, torn[:len(torn)-500]...))
	must(t, errors.Join(err, f.Close()))

	s = reopen(t, s)
	must(t, s.Read(t.Context(), blockstore.IDOf(storetest.Block(2)), make([]byte, 10), 0))
	if err := s.Read(t.Context(), blockstore.IDOf(storetest.Block(4)), make([]byte, 10), 0); !errors.Is(err, blockstore.ErrNotFound) {
		t.Errorf("the torn block: %v", err)
	}
	must(t, s.Create(2, blockstore.BlockSize, ""))
	must(t, s.Save(t.Context(), 2, 0, storetest.Block(4)))
	s = reopen(t, s)
	if found := verify(t, s); len(found) > 0 {
		t.Error(found)
	}
	if st, err := s.Stats(); err != nil || st.Blocks != 3 {
		t.Errorf("%+v, %v: want 3 blocks", st, err)
	}
}
