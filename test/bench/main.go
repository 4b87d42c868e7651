// Command bench measures imsfs beside a peer, qemu-storage-daemon's FUSE export of the same data as
// a zstd-compressed qcow2. It prints one table: the measurement, our figure, the peer's, their
// ratio, the wanted ratio, and whether it was met.
//
//	go run ./test/bench                     everything, a few minutes
//	go run ./test/bench -only seq,rand      parts of it
//	go run ./test/bench -markdown FILE      the table, with machine, date and commit, for docs/performance
//
// The two take turns within one run, a round each, and a ratio is the median of the rounds' ratios.
// The machine may be faster or slower from one minute to the next, so only figures of one round can
// be compared. The command needs root, /dev/fuse, tar, dd, zstd, qemu-img and qemu-storage-daemon.
//
//	data.go               the data that is read
//	daemon.go, peer.go    start and stop the servers
//	sample.go, table.go   numbers, and how they are printed
//
// All other files are measurements, one or two sections of the table each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// section is a part of the run that can be chosen.
type section struct {
	name    string
	data    bool // needs the gibibyte of data
	measure func(*bench, context.Context) error
}

func sections() []section {
	return []section{
		{"seq", true, (*bench).sequential},
		{"rand", true, (*bench).random},
		{"register", false, (*bench).register},
		{"memory", true, (*bench).memory},
		{"store", true, (*bench).storeBench},
		{"convert", true, (*bench).convert},
		{"written", true, (*bench).written},
		{"threads", true, (*bench).threads},
		{"unpacked", true, (*bench).unpacked},
		{"sparse", true, (*bench).sparse},
		{"many", false, (*bench).many},
		{"plain", true, (*bench).plainFormats},
		{"packed", true, (*bench).packedFormats},
		{"zvhd", true, (*bench).zvhd},
		{"opening", false, (*bench).opening},
		{"volume", true, (*bench).volume},
		{"commit", true, (*bench).volumeCommits},
	}
}

// bench is one run.
type bench struct {
	dir    string // everything that is written lies in it
	imsfs  string // the binary
	rounds int
	keep   bool // images that are made are left for the next run
	data   dataset
	peaks  peaks
	table  table
	log    io.Writer
}

type options struct {
	work, imsfs, only, markdown string
	rounds                      int
	keep                        bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var opts options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&opts.work, "work", "", "directory to work in, with 5 GiB to spare (default a new one in the temporary directory)")
	flags.StringVar(&opts.imsfs, "imsfs", "", "the imsfs binary (default it is built)")
	flags.StringVar(&opts.only, "only", "", "comma-separated parts to measure: "+strings.Join(names(), ", "))
	flags.StringVar(&opts.markdown, "markdown", "", "write the table to this file too")
	flags.IntVar(&opts.rounds, "rounds", 5, "how often each measurement is made")
	flags.BoolVar(&opts.keep, "keep", false, "leave the data in -work, and use what is there")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	chosen, err := choose(opts)
	if err != nil {
		return err
	}
	b := &bench{rounds: opts.rounds, keep: opts.keep, imsfs: opts.imsfs, peaks: peaks{}, log: stderr}
	clean, err := b.workIn(opts.work, opts.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clean()) }()
	return b.run(ctx, chosen, opts.markdown, stdout)
}

func names() []string {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	return names
}

func choose(opts options) ([]section, error) {
	switch {
	case opts.rounds < 1:
		return nil, fmt.Errorf("-rounds %d: at least one is needed", opts.rounds)
	case opts.keep && opts.work == "":
		return nil, errors.New("-keep needs -work DIR")
	case os.Geteuid() != 0:
		return nil, errors.New("root is needed: the mount's read-ahead is set by it")
	case opts.only == "":
		return sections(), nil
	}
	var chosen []section
	for name := range strings.SplitSeq(opts.only, ",") {
		i := slices.IndexFunc(sections(), func(s section) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only %s: known are %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, sections()[i])
	}
	return chosen, nil
}

// needed is the space for the data, its three forms, and converted files if they do not fit in memory.
const needed = 5 << 30

// workIn makes the directory to work in and returns what cleans up.
func (b *bench) workIn(dir string, keep bool) (clean func() error, err error) {
	parent := os.TempDir()
	if dir != "" {
		if parent, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(parent, 0o700); err != nil {
			return nil, err
		}
	}
	if b.dir, err = os.MkdirTemp(parent, "imsfs-bench-"); err != nil {
		return nil, err
	}
	b.data.dir = b.dir
	if keep {
		b.data.dir = parent
	}
	clean = func() error { return os.RemoveAll(b.dir) }
	free, err := freeSpace(b.dir)
	if err == nil && free < needed {
		err = fmt.Errorf("%s has %s to spare, and %s are needed: name another directory by -work", b.dir, bytesText(free), bytesText(needed))
	}
	if err != nil {
		return nil, errors.Join(err, clean())
	}
	b.say("working in %s, which needs up to %s", b.dir, bytesText(needed))
	return clean, nil
}

func (b *bench) run(ctx context.Context, chosen []section, markdown string, stdout io.Writer) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	where, err := describe(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(chosen, func(s section) bool { return s.data }) {
		b.say("making the data")
		if err := b.data.make(ctx, b); err != nil {
			return err
		}
		where = append(where, fact{"data", b.data.String()})
	}
	for _, s := range chosen {
		start := time.Now()
		err := s.measure(b, ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err() // the other errors only follow from it
		case err != nil:
			return fmt.Errorf("%s: %w", s.name, err)
		}
		b.say("%s: %.0f s", s.name, time.Since(start).Seconds())
	}
	b.table.add(b.peaks.rows()...)
	if err := b.table.text(stdout, where); err != nil {
		return err
	}
	if markdown == "" {
		return nil
	}
	return writeFile(markdown, func(w io.Writer) error { return b.table.markdown(w, where) })
}

func (b *bench) build(ctx context.Context) error {
	if b.imsfs != "" {
		return nil
	}
	b.imsfs = filepath.Join(b.dir, "imsfs")
	_, err := output(command(ctx, "go", "build", "-trimpath", "-o", b.imsfs, "github.com/imsfs/imsfs/cmd/imsfs"))
	return err
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.log, "bench: "+format+"\n", args...)
}

func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
