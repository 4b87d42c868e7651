package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/imsfs/imsfs/blockstore/kv"
	"github.com/imsfs/imsfs/blockstore/packs"
	"github.com/imsfs/imsfs/lifecycle/catalog"
)

func newStore(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look after the block store",
		Long:  "Look after the block store: what was loaded from the images, each block once.",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(
		newStoreStats(env),
		storeJob(env, "verify", "Hash every block of the store again",
			"Read every block and compare it with its SHA-256. A damaged one is taken out of use: the next read loads it from its source."),
		storeJob(env, "sweep", "Free what no image needs", "Free the blocks that no image needs any more. Goes on beside reads and loads, and may be ended at any point."),
		storeJob(env, "compact", "Move blocks out of files that are mostly holes", "Move the blocks out of pack files that are mostly holes, and remove those."),
		newStoreRebuild(env),
	)
	return cmd
}

// storeJob is a command that starts a job on the store and waits for its end.
func storeJob(env *environment, verb, short, long string) *cobra.Command {
	cmd := &cobra.Command{Use: verb, Short: short, Long: long + waitHelp, Example: "  imsfs store " + verb, Args: exactly()}
	noWait := noWaitFlag(cmd)
	return treeCommand(env, cmd, func(c *client, _ []string) error {
		if err := c.command(c.store("ctl"), verb); err != nil || *noWait {
			return err
		}
		return await(cmd.Context(), c.store("job"), newDisplay(env, verb))
	})
}

func newStoreStats(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Tell what is in the block store and what it takes",
		Example: "  imsfs store stats\n  imsfs store stats --json | jq .stored",
		Args:    exactly(),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return treeCommand(env, cmd, func(c *client, _ []string) error {
		status, err := readStatus(c.store("status"))
		if err != nil {
			return err
		}
		s := storeStatsOf(status)
		if asJSON {
			return env.writeJSON(s)
		}
		s.print(env)
		return nil
	})
}

// storeStats is the JSON form; sizes are bytes.
type storeStats struct {
	Images      int64   `json:"images"`
	Blocks      int64   `json:"blocks"`
	Mapped      int64   `json:"mapped"` // plain bytes that images name: blocks named twice count twice
	Plain       int64   `json:"plain"`  // plain bytes of all blocks
	Stored      int64   `json:"stored"` // their records
	Used        int64   `json:"used"`   // what the files take on disk
	Limit       int64   `json:"limit"`  // 0 is none
	Dedupe      float64 `json:"dedupe-ratio"`
	Compression float64 `json:"compression-ratio"`
	CacheUsed   int64   `json:"cache-used"`
	CacheLimit  int64   `json:"cache-limit"`
	Quarantined int64   `json:"quarantined"`
	Error       string  `json:"error,omitempty"`
}

func storeStatsOf(status []pair) storeStats {
	text := func(key string) string {
		i := slices.IndexFunc(status, func(p pair) bool { return p.key == key })
		if i < 0 {
			return ""
		}
		return status[i].value
	}
	number := func(key string) int64 {
		n, _ := strconv.ParseInt(text(key), 10, 64) // what an older daemon does not tell is 0
		return n
	}
	s := storeStats{
		Images: number("images"), Blocks: number("store_blocks"), Mapped: number("store_mapped"), Plain: number("store_plain"),
		Stored: number("store_stored"), Used: number("store_used"), Limit: number("store_limit"),
		CacheUsed: number("cache_used"), CacheLimit: number("cache_limit"), Quarantined: number("store_quarantined"), Error: text("store_error"),
	}
	s.Dedupe, s.Compression = ratio(s.Mapped, s.Plain), ratio(s.Plain, s.Stored)
	return s
}

// ratio is 1 where there is nothing to compare.
func ratio(a, b int64) float64 {
	if b == 0 {
		return 1
	}
	return float64(a) / float64(b)
}

func (s storeStats) print(env *environment) {
	bytes := func(n int64) string { return humanize.IBytes(uint64(n)) }
	limit := "no limit"
	if s.Limit > 0 {
		limit = "limit " + bytes(s.Limit)
	}
	fmt.Fprintf(env.stdout, "images:      %d\nblocks:      %d\n", s.Images, s.Blocks)
	fmt.Fprintf(env.stdout, "mapped:      %s (%.2f times what is kept: blocks that images share are kept once)\n", bytes(s.Mapped), s.Dedupe)
	fmt.Fprintf(env.stdout, "plain:       %s\nstored:      %s (%.2f times smaller)\n", bytes(s.Plain), bytes(s.Stored), s.Compression)
	fmt.Fprintf(env.stdout, "on disk:     %s, %s\n", bytes(s.Used), limit)
	fmt.Fprintf(env.stdout, "in memory:   %s of %s\n", bytes(s.CacheUsed), bytes(s.CacheLimit))
	if s.Quarantined > 0 {
		fmt.Fprintf(env.stdout, "quarantined: %d blocks\n", s.Quarantined)
	}
	if s.Error != "" {
		fmt.Fprintf(env.stdout, "error:       %s\n", s.Error)
	}
}

func newStoreRebuild(env *environment) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "rebuild --store DIR",
		Short: "Make a lost or damaged database anew from the packs",
		Long: `Make the database of a store anew from its packs; no daemon may serve it. Every block and every image that was complete
come back, with the names and attributes they had when they were registered. Images that were not complete, and later changes of
names and attributes, do not. Volumes come back as they were. One that rests on a committed image which was not complete can only be read,
where something was written to it since. What is left of the old database, and of volumes, is set aside, not deleted.`,
		Example: "  imsfs store rebuild --store /var/lib/imsfs",
		Args:    exactly(),
	}
	cmd.Flags().StringVar(&dir, "store", "", "directory of the store (required)")
	must(cmd.MarkFlagDirname("store"))
	cmd.RunE = func(*cobra.Command, []string) error {
		if dir == "" {
			return &usageError{cmd.CommandPath(), errors.New("rebuild wants --store DIR")}
		}
		return rebuild(cmd, env, dir)
	}
	return cmd
}

func rebuild(cmd *cobra.Command, env *environment, dir string) (err error) {
	old, err := kv.Reset(dir, catalog.BeginRestore)
	if err != nil {
		return err
	}
	if old != "" {
		fmt.Fprintf(env.stdout, "the old database is in %s\n", old)
	}
	db, err := kv.Open(dir, kv.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	p := newDisplay(env, "rebuild")
	found, err := packs.Rebuild(cmd.Context(), dir, db, func(done, total int) {
		p.show(float64(done)/float64(max(total, 1)), fmt.Sprintf("%d of %d packs", done, total))
	})
	p.end(fmt.Sprintf("%d blocks", found.Blocks))
	if err != nil {
		return err
	}
	var disks []catalog.Found
	for _, d := range found.Disks {
		disks = append(disks, catalog.Found{Disk: d.Disk, Size: d.Size, Note: d.Note})
		if d.Missing > 0 {
			fmt.Fprintf(env.stdout, "disk %d lacks %d blocks\n", d.Disk, d.Missing)
		}
	}
	back, err := catalog.Restore(db, disks, filepath.Join(dir, volumesDir))
	tellRestored(env, back)
	return err
}

func tellRestored(env *environment, back catalog.Restored) {
	for _, name := range back.Images {
		fmt.Fprintf(env.stdout, "image %s is back\n", name)
	}
	for _, name := range back.Volumes {
		fmt.Fprintf(env.stdout, "volume %s is back\n", name)
	}
	for _, name := range back.Lacking {
		fmt.Fprintf(env.stdout, "what volume %s rested on is lost: it can only be read, and exported by --salvage\n", name)
	}
	if back.Aside != "" {
		fmt.Fprintf(env.stdout, "what else was written to volumes is in %s\n", back.Aside)
	}
}
