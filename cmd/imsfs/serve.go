package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/packs"
	"github.com/imsfs/imsfs/fs"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/lazyload/index"
	remote "github.com/imsfs/imsfs/lazyload/source/http"
	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/tree"
)

type serveOptions struct {
	mountpoint string
	store      string
	cacheSize  byteSize
	readAhead  byteSize
	storeLimit byteSize
	freeFloor  byteSize
	allowOther bool
	allowDirs  []string
	allowURLs  []string
	policy     remote.Policy // of allowURLs
	daemon     bool
	logFile    string
	readyFD    int // where a detached process says that it serves; 0 is nowhere
}

func newServe(env *environment) *cobra.Command {
	opts := serveOptions{cacheSize: lazyload.DefaultCacheSize, readAhead: 1 << 20, freeFloor: packs.DefaultFreeFloor}
	cmd := &cobra.Command{
		Use:   "serve MOUNTPOINT --store DIR",
		Short: "Mount the tree of a store's images and serve it",
		Long: `Mount the tree of all images that are registered in a store, and serve it until it is unmounted.

The store is a directory; an empty or missing one becomes a store. MOUNTPOINT is an empty directory outside of it, and is
created if it is absent.
SIGTERM, SIGINT and SIGHUP unmount and end; while files of the tree are in use that waits for them. A second signal takes
the tree away from its users. Tells systemd when it is ready (Type=notify).`,
		Example: `  imsfs serve /mnt/ims --store /var/lib/imsfs
  imsfs serve /mnt/ims --store /var/lib/imsfs --daemon --allow-other --cache-size 1GiB`,
		Args: exactly("MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.mountpoint = args[0]
			if opts.store == "" {
				return &usageError{cmd.CommandPath(), errors.New("serve wants --store DIR")}
			}
			if err := opts.complete(); err != nil {
				return err
			}
			if opts.daemon {
				return detach(cmd.Context(), opts)
			}
			return announce(opts.readyFD, func(ready func() error) error { return serve(env, opts, ready) })
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.store, "store", "", "directory of the store (required)")
	flags.Var(&opts.cacheSize, "cache-size", "memory for decoded data")
	flags.Var(&opts.readAhead, "read-ahead", "what the kernel reads ahead of a sequential reader (root only)")
	flags.Var(&opts.storeLimit, "store-limit", "bytes on disk that blocks may take; those of lazy images leave first, those of hydrated ones never (0: no limit)")
	flags.Var(&opts.freeFloor, "free-floor", "bytes that are left free on the store's file system")
	flags.BoolVar(&opts.allowOther, "allow-other", false, "let other users read the tree; commands stay the daemon's and root's")
	allowFlag(cmd, &opts.allowDirs)
	allowURLFlag(cmd, &opts.allowURLs)
	flags.BoolVar(&opts.daemon, "daemon", false, "detach once the tree is mounted")
	flags.StringVar(&opts.logFile, "log-file", "", "append the log to this file instead of stderr (with --daemon: DIR.log)")
	flags.IntVar(&opts.readyFD, "ready-fd", 0, "")
	must(flags.MarkHidden("ready-fd"))
	must(cmd.MarkFlagDirname("store"))
	cmd.ValidArgsFunction = completeDirectories
	return cmd
}

// complete makes paths absolute, so that they mean the same wherever the process goes.
func (o *serveOptions) complete() error {
	var err error
	if o.store, err = filepath.Abs(o.store); err != nil {
		return err
	}
	if o.mountpoint, err = filepath.Abs(o.mountpoint); err != nil {
		return err
	}
	if o.allowDirs, err = absolutePaths(o.allowDirs); err != nil {
		return err
	}
	if o.policy, err = parsePolicy(o.allowURLs); err != nil {
		return err
	}
	if o.daemon && o.logFile == "" {
		o.logFile = o.store + ".log"
	}
	if o.logFile != "" {
		o.logFile, err = filepath.Abs(o.logFile)
	}
	return err
}

// serve opens the store, mounts its tree and returns when that is unmounted. ready is called once it answers.
func serve(env *environment, opts serveOptions, ready func() error) (err error) {
	signals, stop := env.signals()
	defer stop()
	log, closeLog, err := openLog(env, opts.logFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	if err := dismissDeadMount(opts.mountpoint, log); err != nil {
		return err
	}
	if err := checkMountpoint(opts.mountpoint, opts.store); err != nil {
		return err
	}
	if err := makeMountpoint(opts.mountpoint); err != nil {
		return err
	}
	if err := checkEmpty(opts.mountpoint); err != nil {
		return err
	}
	db, err := kv.Open(opts.store, kv.Options{Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	blocks, err := packs.Open(opts.store, db, packs.Options{Limit: int64(opts.storeLimit), FreeFloor: int64(opts.freeFloor)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, blocks.Close()) }()
	indexes, err := index.Open(filepath.Join(opts.store, "indexes"))
	if err != nil {
		return err
	}
	loader := lazyload.New(lazyload.Config{CacheSize: int64(opts.cacheSize), Store: blocks, Now: env.now})
	defer func() { err = errors.Join(err, loader.Close()) }()
	reg, err := lifecycle.Open(context.Background(), db, lifecycle.Config{
		Formats:    env.formats,
		Sources:    daemonSources(opts, env.now),
		Loader:     loader,
		Store:      blocks,
		Indexes:    indexes,
		Log:        log,
		Now:        env.now,
		Volumes:    filepath.Join(opts.store, volumesDir),
		Mountpoint: resolve(opts.mountpoint),
		StoreDir:   resolve(opts.store),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reg.Close()) }()

	server, err := fs.Mount(opts.mountpoint, tree.Of(reg, env.now), fs.Config{
		Type:       treeType,
		Name:       "imsfs:" + opts.store,
		AllowOther: opts.allowOther,
		ReadAhead:  int64(opts.readAhead),
		Space:      storeSpace(opts, blocks),
		Log:        log,
	})
	if err != nil {
		return err
	}
	log.Info("serving", "mountpoint", opts.mountpoint, "store", opts.store, "images", len(reg.Images()))
	if _, err := daemon.SdNotify(false, daemon.SdNotifyReady); err != nil {
		log.Warn("telling systemd", "error", err)
	}
	if err := ready(); err != nil {
		log.Warn("telling the starter", "error", err)
	}
	err = waitUnmounted(server, opts.mountpoint, signals, log)
	log.Info("stopped", "mountpoint", opts.mountpoint)
	return err
}

// storeSpace is the space that the store may take.
func storeSpace(opts serveOptions, blocks blockstore.Store) fs.Space {
	return fs.Space{Dir: opts.store, Limit: int64(opts.storeLimit), Used: func() (int64, error) {
		st, err := blocks.Stats()
		return st.Used, err
	}}
}

// volumesDir is where in the store what is written to volumes is.
const volumesDir = "volumes"

// How a log file is opened.
const (
	logFlags = os.O_CREATE | os.O_WRONLY | os.O_APPEND
	logMode  = 0o640
)

// openLog makes the log that goes to a file, or to stderr.
func openLog(env *environment, path string) (*slog.Logger, func() error, error) {
	if path == "" {
		return slog.New(slog.NewTextHandler(env.stderr, nil)), func() error { return nil }, nil
	}
	f, err := os.OpenFile(path, logFlags, logMode)
	if err != nil {
		return nil, nil, fmt.Errorf("log file: %w", err)
	}
	return slog.New(slog.NewTextHandler(f, nil)), f.Close, nil
}
