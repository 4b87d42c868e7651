package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"runtime"
	"syscall"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/convert"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
	"github.com/imsfs/imsfs/lifecycle/output"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// export is one file that the disk of an image, or of a volume, is written to.
type export struct {
	reg    *Registry
	rec    catalog.Image // of the image, or as it would be of one that is committed now
	attrs  []any         // for the log
	digest func() string
	exportRequest
	enc formats.Encoder
	dst *output.File
	sum *blockstore.Sum // nil if the file is not read back
}

// export is the verb. What can be found out without reading the disk refuses the command, the rest
// is the job's outcome. In either case nothing is left.
func (i *Image) export(_ context.Context, args *command.Args) (plan, error) {
	e := &export{reg: i.reg, rec: i.record(), attrs: i.attrs(), digest: i.Digest}
	return e.job(&i.jobs, args, i.onDisk(func(ctx context.Context, j *job.Job, h *pool.Handle) error {
		rec := e.rec
		return e.run(ctx, j, h.Pass(formats.Info{Format: rec.Format, ClusterSize: rec.ClusterSize, Compression: rec.Compression, Allocated: rec.Allocated}))
	}))
}

// job is the plan of an export whose work is given.
func (e *export) job(jobs *job.Slot, args *command.Args, work func(context.Context, *job.Job) error) (plan, error) {
	p, err := e.reg.startJob(jobs, "export", func(ctx context.Context, j *job.Job) error {
		defer e.dst.Discard()
		return work(ctx, j)
	})
	if err != nil {
		return p, err
	}
	if err := e.prepare(args); err != nil {
		return p, err
	}
	start := p.Then
	p.Then = func(ctx context.Context) error {
		err := start(ctx)
		if err != nil {
			e.dst.Discard()
		}
		return err
	}
	return p, nil
}

// prepare checks the arguments and makes the file, without its name.
func (e *export) prepare(args *command.Args) error {
	rec, r := e.rec, e.reg
	var err error
	if e.exportRequest, err = r.exportRequest(rec, args); err != nil {
		return err
	}
	if e.enc, err = r.cfg.Formats.Create(e.format, rec.Size, e.opts); err != nil {
		return command.Refuse(iofs.ErrInvalid, "%v", err)
	}
	if e.verify {
		if e.sum, err = blockstore.NewSum(rec.Size); err != nil {
			return command.Refuse(iofs.ErrInvalid, "%v, by which the file is verified (verify=no does without)", err)
		}
	}
	var sources []string
	for _, f := range rec.Files() {
		sources = append(sources, f.Path)
	}
	e.dst, err = output.Create(e.dest, sources, e.force)
	var errno syscall.Errno
	switch {
	case errors.Is(err, iofs.ErrExist):
		return fmt.Errorf("%w (force=yes replaces it)", err)
	case err != nil && !errors.As(err, &errno): // it exists and is not a file that may be replaced
		return command.Refuse(iofs.ErrInvalid, "%v", err)
	}
	return err
}

// run is the job.
func (e *export) run(ctx context.Context, j *job.Job, disk formats.Image) error {
	cfg := convert.Config{Workers: runtime.GOMAXPROCS(0)}
	parts := int64(1) // of the job, each of about the same work
	if e.verify {
		parts = 2
	}
	var total int64
	cfg.Progress = func(done, data int64) {
		total = data
		j.Progress(job.Share(done, total*parts), done)
	}
	if !e.anyRoom {
		if err := e.dst.CheckRoom(ctx, disk, e.enc); err != nil {
			return fmt.Errorf("writing %s: %w (space_check=no tries all the same)", e.dest, err)
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
			part := job.Share(done, e.rec.Size)
			j.Progress((1+part)/2, total+int64(part*float64(total)))
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
	e.reg.cfg.Log.Info("exported", append(e.attrs, slog.String("format", e.format), slog.String("to", e.dest))...)
	return nil
}

// readBack opens the file with the format's driver and compares its digest with that of the bytes
// that were read, and that with the store's digest of the image.
func (e *export) readBack(ctx context.Context, progress func(done int64)) (err error) {
	want := e.sum.Digest()
	if known := e.digest(); known != "" && known != want.String() {
		return fmt.Errorf("the disk was read with the digest %s, the store has it with %s", want, known)
	}
	c, err := chain.Open(ctx, output.DescriptorPath(e.dst.File), chain.Config{Formats: e.reg.cfg.Formats, Sources: e.reg.cfg.Sources, Format: e.format, Alone: true})
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

// summed adds all that is read of a disk to a sum.
type summed struct {
	formats.Image
	sum *blockstore.Sum // nil: there is none
}

func (s summed) ReadAt(ctx context.Context, p []byte, off int64) error {
	if err := s.Image.ReadAt(ctx, p, off); err != nil || s.sum == nil {
		return err
	}
	return s.sum.Add(off, p)
}

// readable is the beginning of an image as a digest reads it: a format that aligns disks (VHD with
// align) adds zeros to their end.
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
