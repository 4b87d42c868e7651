package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
	"github.com/imsfs/imsfs/lifecycle/job"
	"github.com/imsfs/imsfs/lifecycle/pool"
)

// registration is one image on its way from queued to active.
type registration struct {
	reg      *Registry
	img      *Image
	finished chan struct{} // closed when the job, and what follows it, is done

	mu       sync.Mutex // held while the outcome is decided
	attended bool       // the command still waits and will return the outcome
	err      error      // the outcome
}

// register is the verb. It returns when the image is active. A source that cannot be opened refuses
// it and leaves nothing. If ctx ends or patience does, the registration goes on without it,
// and a failure kills the image.
func (r *Registry) register(_ context.Context, args *command.Args) (plan, error) {
	rec, err := r.requested(args)
	if err != nil {
		return plan{}, err
	}
	if rec.ID, err = r.catalog.Next(); err != nil {
		return plan{}, err
	}
	img := r.adoptImage(rec.ID)
	added := false
	return plan{
		Apply: func(tx *catalog.Tx) error { return tx.AddImage(rec) },
		Then: func(ctx context.Context) error {
			added = true
			return r.begin(img, true).await(ctx)
		},
		Drop: func() {
			if !added {
				r.disown(img)
			}
		},
	}, nil
}

// requested makes a record of the arguments.
func (r *Registry) requested(args *command.Args) (catalog.Image, error) {
	rec := catalog.Image{Name: args.Text("NAME"), State: catalog.Queued, Registered: r.cfg.Now().UTC()}
	rec.Load = catalog.LoadMode(args.Or("load", string(catalog.Lazy)))
	rec.Snapshot = args.Text("snapshot")
	rec.Meta = takeAttributes(args, nil)
	var err error
	if rec.Path, err = r.checkSource(args.Text("SOURCE")); err != nil {
		return rec, err
	}
	if args.Has("backing") {
		if rec.Backing, err = r.checkSource(args.Text("backing")); err != nil {
			return rec, err
		}
	}
	if rec.Format = args.Text("format"); args.Has("format") {
		if _, err := r.cfg.Formats.Named(rec.Format); err != nil {
			return rec, command.Refuse(iofs.ErrInvalid, "%v", err)
		}
	}
	return rec, nil
}

// checkSource checks the words of a source. Looking at it may take its time, so the job does.
func (r *Registry) checkSource(text string) (string, error) {
	at, err := r.cfg.Sources.Absolute(text)
	if err != nil {
		return "", fmt.Errorf("source: %w", err)
	}
	return at.String(), nil
}

// begin starts the job of a queued image.
func (r *Registry) begin(img *Image, attended bool) *registration {
	g := &registration{reg: r, img: img, attended: attended, finished: make(chan struct{})}
	claim, err := img.jobs.Claim(registerVerb)
	var j *job.Job
	if err == nil {
		j, err = r.runner.Queue(claim, g.run)
	}
	if err != nil { // the registry is being closed: the next one goes on
		g.err = err
		close(g.finished)
		return g
	}
	r.runner.Go(func() {
		defer close(g.finished)
		<-j.Done()
		g.follow()
	})
	return g
}

// resumeRegistration goes on with one that an earlier daemon was cut off in.
func (r *Registry) resumeRegistration(img *Image) { r.begin(img, false) }

// await returns the outcome, or nil if it is not decided when patience or ctx ends.
func (g *registration) await(ctx context.Context) error {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-g.finished:
		return g.outcome()
	case <-timer.C:
	case <-ctx.Done():
	}
	g.mu.Lock()
	g.attended = false
	decided := g.err
	g.mu.Unlock()
	if decided != nil {
		return g.outcome()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("it goes on without being waited for: %w", err)
	}
	return nil
}

// outcome is the error of a registration for the command that asked for it: a damaged source is a
// wrong argument to it, and an I/O error only to a reader.
func (g *registration) outcome() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if errors.Is(g.err, formats.ErrCorrupt) {
		return command.Refuse(errors.Join(iofs.ErrInvalid, g.err), "%v", g.err)
	}
	return g.err
}

// run is the job.
func (g *registration) run(ctx context.Context, j *job.Job) error {
	probe, err := g.probe(ctx, j)
	if err == nil {
		if err = g.activate(ctx, probe); err != nil {
			err = errors.Join(err, probe.Discard())
		}
	}
	return g.decide(err)
}

// probe waits for its turn and opens the source.
func (g *registration) probe(ctx context.Context, j *job.Job) (*pool.Probe, error) {
	r := g.reg
	select {
	case r.opening <- struct{}{}:
		giveTurn := sync.OnceFunc(func() { <-r.opening })
		defer giveTurn()
		defer time.AfterFunc(patience, giveTurn).Stop() // a source that hangs must not hold up the others
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	j.Begin()
	g.img.mu.Lock()
	g.img.saving = true
	g.img.mu.Unlock()
	rec := g.img.record()
	return r.pool.Probe(ctx, rec.ID, rec.Source)
}

// activate writes the facts that the source gave. The disk is put in its slot before it can be
// opened, so that no reader opens another.
func (g *registration) activate(ctx context.Context, probe *pool.Probe) error {
	r := g.reg
	rec := g.img.record()
	rec.State = catalog.Active
	probe.Fill(ctx, &rec.Source, &rec.Disk)
	if err := r.chooseLoad(&rec); err != nil {
		return err
	}
	err := r.pool.Create(rec.Base(), r.noteOf(rec))
	if err != nil && !errors.Is(err, iofs.ErrExist) { // a kill before the record was written left it
		return err
	}
	if err := probe.Keep(ctx, rec.Base(), g.img.slot); err != nil {
		return err
	}
	return r.catalog.Update(func(tx *catalog.Tx) error {
		return tx.ChangeImage(rec.ID, func(now *catalog.Image) error {
			now.State, now.Source, now.Disk, now.Keeping = rec.State, rec.Source, rec.Disk, rec.Keeping
			return nil
		})
	})
}

// chooseLoad decides how much of a disk the store keeps.
func (r *Registry) chooseLoad(rec *catalog.Image) error {
	switch {
	case rec.Size == 0:
		return command.Refuse(iofs.ErrInvalid, "the disk has 0 bytes")
	case r.cfg.Store == nil || rec.Size > blockstore.MaxDiskSize && rec.Load == catalog.Lazy:
		rec.Load = catalog.None
	case rec.Size > blockstore.MaxDiskSize && rec.Load == catalog.Full:
		return command.Refuse(iofs.ErrInvalid, "load=full: a disk of %d bytes (the store keeps at most %d of one)", rec.Size, int64(blockstore.MaxDiskSize))
	}
	rec.Hydrating = rec.Load == catalog.Full
	return nil
}

// decide makes the outcome the image's state: a failure takes the image back if the command waits
// for it, else the image stays, killed, for its error to be read.
func (g *registration) decide(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	img := g.img
	switch {
	case err == nil:
		img.reg.cfg.Log.Info("registered", append(img.attrs(), img.foundAttrs()...)...)
	case img.Deleted():
		err = command.Refuse(iofs.ErrClosed, "the image was deleted before it was registered")
	case g.reg.runner.Closing():
		err = command.Refuse(iofs.ErrClosed, "the store is being closed; the registration goes on when it is opened again")
	case !g.attended || img.takeBack() != nil:
		img.kill(err)
	}
	g.err = err
	return err
}

// follow starts what an active image needs.
func (g *registration) follow() {
	rec := g.img.record()
	if rec.State != catalog.Active {
		return
	}
	g.reg.pool.Indexes().Want(rec.Base())
	if rec.Hydrating {
		g.reg.resumeHydration(g.img)
	}
}

// takeBack removes an image that was not registered.
func (i *Image) takeBack() error {
	err := i.reg.catalog.Update(func(tx *catalog.Tx) error {
		rec, err := tx.Image(i.id)
		if err != nil {
			return err
		}
		return i.leave(tx, rec)
	})
	if err == nil {
		i.reg.disown(i)
	}
	return err
}

// kill keeps an image only for its error to be read. If that cannot be written, the registration is
// tried again when the store is next opened.
func (i *Image) kill(cause error) {
	err := i.reg.catalog.Update(func(tx *catalog.Tx) error {
		return tx.ChangeImage(i.id, func(rec *catalog.Image) error {
			rec.State, rec.Error = catalog.Killed, command.Sentence(cause)
			return nil
		})
	})
	if err != nil {
		i.mu.Lock()
		i.killed = command.Sentence(errors.Join(cause, err))
		i.mu.Unlock()
	}
	i.reg.cfg.Log.Warn("killed", append(i.attrs(), slog.String("error", command.Sentence(cause)))...)
}

// foundAttrs returns the findings of a registration, for the log.
func (i *Image) foundAttrs() []any {
	rec := i.record()
	attrs := []any{slog.String("format", rec.Format), slog.Int64("size", rec.Size)}
	if rec.Map != "" {
		attrs = append(attrs, slog.String("map", rec.Map))
	}
	return attrs
}
