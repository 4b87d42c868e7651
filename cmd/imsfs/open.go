package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/fs"
	"github.com/imsfs/imsfs/lazyload"
	"github.com/imsfs/imsfs/tree"
)

type openOptions struct {
	image      imageOptions
	allow      []string
	cacheSize  byteSize
	readAhead  byteSize
	allowOther bool
}

func newOpen(env *environment) *cobra.Command {
	opts := openOptions{cacheSize: lazyload.DefaultCacheSize, readAhead: 1 << 20}
	cmd := &cobra.Command{
		Use:   "open FILE MOUNTPOINT",
		Short: "Mount one image file, without a store, for a quick look",
		Long: `Mount the disk in one image file: MOUNTPOINT/disk is there until the mount point is unmounted or this command
gets SIGINT, SIGTERM or SIGHUP.`,
		Example: "  mkdir /tmp/look && imsfs open disk.zvhd2 /tmp/look &\n  fdisk -l /tmp/look/disk; umount /tmp/look",
		Args:    exactly("FILE", "MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return open(cmd.Context(), env, opts, args[0], args[1])
		},
	}
	imageFlags(env, cmd, &opts.image, "FILE", "", "f")
	allowFlag(cmd, &opts.allow)
	flags := cmd.Flags()
	flags.Var(&opts.cacheSize, "cache-size", "memory for decoded data")
	flags.Var(&opts.readAhead, "read-ahead", "what the kernel reads ahead of a sequential reader (root only)")
	flags.BoolVar(&opts.allowOther, "allow-other", false, "let other users read the disk")
	return cmd
}

func open(ctx context.Context, env *environment, opts openOptions, path, mountpoint string) (err error) {
	log, _, err := openLog(env, "")
	if err != nil {
		return err
	}
	if mountpoint, err = filepath.Abs(mountpoint); err != nil {
		return err
	}
	if err := dismissDeadMount(mountpoint, log); err != nil {
		return err
	}
	if err := checkMountpoint(mountpoint, ""); err != nil {
		return err
	}
	if err := checkEmpty(mountpoint); err != nil {
		return err
	}
	signals, stop := env.signals()
	defer stop()
	img, err := openImage(ctx, env, path, opts.image, opts.allow)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	allocated, err := formats.Occupied(ctx, img)
	if err != nil {
		return err
	}
	loader := lazyload.New(lazyload.Config{CacheSize: int64(opts.cacheSize)})
	defer func() { err = errors.Join(err, loader.Close()) }()
	disk := loader.Open(img)
	defer disk.Close()

	server, err := fs.Mount(mountpoint, tree.Single(onlyDisk{disk, allocated}, path, img.status(allocated), env.now()), fs.Config{
		Type:       singleType,
		Name:       "imsfs:" + path,
		AllowOther: opts.allowOther,
		ReadAhead:  int64(opts.readAhead),
		Space:      fs.Space{Dir: filepath.Dir(img.path)},
		Log:        log,
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(env.stdout, filepath.Join(mountpoint, "disk"))
	return waitUnmounted(server, mountpoint, signals, log)
}

// status is what the mount tells of the image: the keys are those of a registered image's status.
func (f *imageFile) status(allocated int64) string {
	var b strings.Builder
	i := f.Info()
	fmt.Fprintf(&b, "format %s\nsize %d\nallocated %d\n", i.Format, i.Size, allocated)
	if i.SectorSize != formats.SectorSize {
		fmt.Fprintf(&b, "logical_sector_size %d\n", i.SectorSize)
	}
	fmt.Fprintf(&b, "cluster_size %d\nsource %s\n", i.ClusterSize, f.path)
	return b.String()
}

// onlyDisk is a disk that is open for as long as it is mounted, as a file of the tree.
type onlyDisk struct {
	*lazyload.Disk
	allocated int64
}

func (d onlyDisk) Allocated() int64                            { return d.allocated }
func (d onlyDisk) Open(context.Context) (tree.OpenDisk, error) { return shared{d.Disk}, nil }

// shared is one user's hold on it.
type shared struct{ *lazyload.Disk }

func (shared) Close() error { return nil }
