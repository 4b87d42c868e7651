package packs

import (
	"context"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
)

// benchFile names a file of real data for the benchmarks; without it they use this test binary.
const benchFile = "IMSFS_BENCH_FILE"

func realData(b *testing.B, most int) []byte {
	b.Helper()
	path := os.Getenv(benchFile)
	if path == "" {
		path = os.Args[0]
	}
	data, err := os.ReadFile(path)
	must(b, err)
	return data[:min(len(data), most)/blockstore.BlockSize*blockstore.BlockSize]
}

// BenchmarkSave saves a file from one and from several savers, 2 MiB at a time.
func BenchmarkSave(b *testing.B) {
	data := realData(b, 1<<30)
	for _, savers := range []int{1, 2, 4, 8} {
		b.Run("savers-"+strconv.Itoa(savers), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				b.StopTimer()
				dir := b.TempDir()
				s := openIn(b, dir, Options{})
				must(b, s.Create(1, int64(len(data)), ""))
				before := cpuTime(b)
				b.StartTimer()
				saveAll(b, s, data, savers)
				b.StopTimer()
				b.ReportMetric((cpuTime(b) - before).Seconds(), "cpu-s/op")
				s.close(b)
				b.ReportMetric(float64(diskUse(b, dir)), "du-bytes")
				b.StartTimer()
			}
		})
	}
}

// cpuTime returns the processor time of this process.
func cpuTime(b *testing.B) time.Duration {
	var use unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// diskUse returns the bytes that a directory's files take on disk.
func diskUse(b *testing.B, dir string) (sum int64) {
	must(b, filepath.WalkDir(dir, func(path string, _ iofs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil {
			err = unix.Lstat(path, &st)
		}
		sum += st.Blocks * 512
		return err
	}))
	return sum
}

func saveAll(b *testing.B, s *subject, data []byte, savers int) {
	const part = 2 << 20
	next := make(chan int)
	var wg sync.WaitGroup
	for range savers {
		wg.Go(func() {
			for off := range next {
				if err := s.Save(context.Background(), 1, int64(off), data[off:min(off+part, len(data))]); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for off := 0; off < len(data); off += part {
		next <- off
	}
	close(next)
	wg.Wait()
}

// BenchmarkRead reads a saved file from the host's page cache: 4 KiB at random, and whole blocks in
// order.
func BenchmarkRead(b *testing.B) {
	data := realData(b, 256<<20)
	s := openIn(b, b.TempDir(), Options{})
	must(b, s.Create(1, int64(len(data)), ""))
	saveAll(b, s, data, 2)
	blocks := blockstore.Blocks(int64(len(data)))
	read := func(b *testing.B, block int64, p []byte, off int) {
		e, err := s.Lookup(1, block)
		must(b, err)
		if e.State == blockstore.Data {
			must(b, s.Read(context.Background(), e.ID, p, off))
		}
	}
	b.Run("rand/4KiB", func(b *testing.B) {
		rnd := rand.New(rand.NewPCG(1, 1))
		p := make([]byte, 4<<10)
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		for b.Loop() {
			read(b, rnd.Int64N(blocks), p, rnd.IntN(16)*len(p))
		}
	})
	b.Run("seq/64KiB", func(b *testing.B) {
		p := make([]byte, blockstore.BlockSize)
		b.SetBytes(int64(len(p)))
		b.ReportAllocs()
		block := int64(0)
		for b.Loop() {
			read(b, block%blocks, p, 0)
			block++
		}
	})
}

// BenchmarkMillion opens and sweeps a store of 1000 disks and a million blocks. The blocks' records
// do not exist, because neither reads them.
func BenchmarkMillion(b *testing.B) {
	dir := b.TempDir()
	makeMillion(b, dir)
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			s := openIn(b, dir, Options{})
			b.StopTimer()
			b.ReportMetric(resident(b), "MiB-resident")
			s.close(b)
			b.StartTimer()
		}
	})
	b.Run("sweep", func(b *testing.B) {
		s := openIn(b, dir, Options{})
		defer s.close(b)
		for b.Loop() {
			freed, err := s.Sweep(b.Context())
			if err != nil || freed.Blocks != 0 {
				b.Fatalf("%+v, %v: all is in use", freed, err)
			}
		}
		b.ReportMetric(resident(b), "MiB-resident")
	})
}

func makeMillion(b *testing.B, dir string) {
	db, err := kv.Open(dir, kv.Options{})
	must(b, err)
	s, err := newStore(dir+"/packs", db, Options{MapCache: DefaultMapCache})
	must(b, err)
	must(b, s.open())
	rnd := rand.NewChaCha8([32]byte{1})
	const blocks = 1000
	at := int64(packHead)
	for disk := range uint64(1000) {
		must(b, s.Create(disk, blocks*blockstore.BlockSize, ""))
		var index []op
		must(b, s.change(func(batch *batch) error {
			d, err := batch.disk(disk)
			if err != nil {
				return err
			}
			for block := range int64(blocks) {
				e := blockstore.Entry{State: blockstore.Data}
				rnd.Read(e.ID[:])
				loc := location{pack: 1, off: at, lens: [maxSlices]uint16{9000, 7500, 7500}, count: blockSlices}
				at = loc.end()
				index = append(index, op{indexKey(blockKind, name(e.ID)), loc.encode()})
				p := place{disk, block / blockstore.SegmentBlocks}
				if err := batch.set(p, d, int(block%blockstore.SegmentBlocks), e); err != nil {
					return err
				}
			}
			return nil
		}))
		must(b, s.write(index...))
		s.counts.blocks += blocks
	}
	must(b, s.write(op{[]byte(tailKey), s.tail.encode(s.counts)}))
	must(b, s.Close())
	must(b, db.Close())
}

// resident returns the MiB of memory of this process without mapped files, after a collection.
func resident(b *testing.B) float64 {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	must(b, err)
	for line := range strings.Lines(string(status)) {
		if kib, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(kib)[0])
			must(b, err)
			return float64(n) / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
