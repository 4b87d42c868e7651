package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"runtime"
	"syscall"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lifecycle/output"
)

// export is one file that the disk of an image, or of a volume, is written to.
type export struct {
	r      *Registry
	rec    record // of the image, or as it would be of one that is committed now
	attrs  []any  // for the log
	digest func() string
	exportRequest
	enc formats.Encoder
	dst *output.File
	sum *blockstore.Sum // nil if what was written is not read back
}

// export is the verb: FORMAT DEST [KEY=VALUE ...]. What can be told without reading the disk refuses the command, the rest is
// the job's outcome. In either case nothing is left behind.
func (i *Image) export(_ context.Context, words []string) error {
	if err := i.r.idle(i.r.jobAt(&i.job)); err != nil {
		return err
	}
	e := &export{r: i.r, rec: i.record(), attrs: imageAttrs(i), digest: i.Digest}
	if err := e.prepare(words); err != nil {
		return err
	}
	err := i.launch("export", func(ctx context.Context, j *job, h *Handle) error {
		rec := e.rec
		return e.run(ctx, j, h.Pass(formats.Info{Format: rec.Format, ClusterSize: rec.ClusterSize, Compression: rec.Compression, Allocated: rec.Allocated}))
	}, e.dst.Discard)
	if err != nil {
		e.dst.Discard()
	}
	return err
}

// prepare checks the words and makes the file, under another name.
func (e *export) prepare(words []string) error {
	rec, r := e.rec, e.r
	var err error
	if e.exportRequest, err = r.exportRequest(rec, words); err != nil {
		return err
	}
	if e.enc, err = r.cfg.Formats.Create(e.format, rec.Size, e.opts); err != nil {
		return refuse(iofs.ErrInvalid, "%v", err)
	}
	if e.verify {
		if e.sum, err = blockstore.NewSum(rec.Size); err != nil {
			return refuse(iofs.ErrInvalid, "%v, by which the file is verified: say verify=no", err)
		}
	}
	var sources []string
	for _, f := range rec.files() {
		sources = append(sources, f.Path)
	}
	e.dst, err = output.Create(e.dest, sources, e.force)
	var errno syscall.Errno
	switch {
	case errors.Is(err, iofs.ErrExist):
		return fmt.Errorf("%w (force=yes replaces it)", err)
	case err != nil && !errors.As(err, &errno): // it is there and no file to be replaced
		return refuse(iofs.ErrInvalid, "%v", err)
	}
	return err
}

// run is the job.
func (e *export) run(ctx context.Context, j *job, disk formats.Image) error {
	cfg := convert.Config{Workers: runtime.GOMAXPROCS(0)}
	parts := int64(1) // that the job has, each of about the same work
	if e.verify {
		parts = 2
	}
	var total int64
	cfg.Progress = func(done, data int64) {
		total = data
		j.progress(float64(done)/float64(max(total*parts, 1)), done)
	}
	if !e.anyRoom {
		if err := e.dst.CheckRoom(ctx, disk, e.enc); err != nil {
			return fmt.Errorf("writing %s: %w (space_check=no tries nevertheless)", e.dest, err)
		}
	}
	if err := convert.Run(ctx, summed{disk, e.sum}, e.enc, e.dst, cfg); err != nil {
		return fmt.Errorf("writing %s: %w", e.dest, err)
	}
	if err := e.dst.Settle(); err != nil {
		return fmt.Errorf("writing %s: %w", e.dest, err)
	}
	if e.verify {
		err := e.readBack(ctx, func(done int64) {
			share := float64(done) / float64(max(e.rec.Size, 1))
			j.progress((1+share)/2, total+int64(share*float64(total)))
		})
		if err != nil {
			return fmt.Errorf("reading back what was written to %s: %w", e.dest, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.dst.Commit(); err != nil {
		return err
	}
	e.r.cfg.Log.Info("exported", append(e.attrs, slog.String("format", e.format), slog.String("to", e.dest))...)
	return nil
}

// readBack opens what was written with the format's driver and compares its digest with that of what was read, and that with
// what the store says of the image.
func (e *export) readBack(ctx context.Context, progress func(done int64)) (err error) {
	want := e.sum.Digest()
	if known := e.digest(); known != "" && known != want.String() {
		return fmt.Errorf("the disk was read with the digest %s, and is %s in the store", want, known)
	}
	c, err := chain.Open(ctx, output.DescriptorPath(e.dst.File), chain.Config{Formats: e.r.cfg.Formats, Sources: e.r.cfg.Sources, Format: e.format, Alone: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	size := e.rec.Size
	if written := c.Info().Size; written < size {
		return fmt.Errorf("it is a disk of %d bytes, and was to have %d", written, size)
	}
	got, err := blockstore.DigestPlain(ctx, readable{c, size}, progress)
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("its digest is %s, that of the disk is %s", got, want)
	}
	return nil
}

// summed tells the digest what is read of a disk.
type summed struct {
	formats.Image
	sum *blockstore.Sum // nil: nobody wants to know
}

func (s summed) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := s.Image.ReadAt(ctx, p, off); err != nil || s.sum == nil {
		return err
	}
	return s.sum.Add(off, p)
}

// readable is the beginning of an image as a digest sees it: a format that aligns disks (VHD with align) adds zeros to their end.
type readable struct {
	formats.Image
	size int64
}

func (r readable) Size() int64 { return r.size }

func (r readable) Hole(ctx context.Context, off, n int64) (int64, error) {
	e, err := r.Extent(ctx, off, n)
	if err != nil || e.State == formats.Data {
		return 0, err
	}
	return e.Len, nil
}

// created is the time that formats record, by default that of the source, so that a disk exported twice gives the same bytes.
func (rec record) created() int64 { return rec.Identity.ModTime / int64(time.Second) }
