package lifecycle

import (
	"context"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// The states that several verbs may be used in.
var (
	active = []catalog.State{catalog.Active}
	named  = []catalog.State{catalog.Active, catalog.Killed}
)

// setArgs are the arguments of the verb set; its Prepare checks them against the target's options.
var setArgs = []command.Option{
	{Key: "KEY", Help: "the attribute"},
	{Key: "VALUE", Help: `its value; "" takes it back`},
}

// exportSpec is the verb export of an image and of a volume.
func exportSpec(in []catalog.State, help string, more ...command.Option) command.Spec {
	return command.Spec{
		Name: "export", Help: help,
		Args: []command.Option{
			{Key: "FORMAT", Help: "the format's name"},
			{Key: "DEST", Help: "the absolute path of the file, as the daemon sees it"},
		},
		Options: append([]command.Option{
			{Key: "force", Rule: command.Yes(), Help: "yes replaces DEST if it is a regular file"},
			{Key: "verify", Rule: command.Yes(), Help: "no does not read back what was written"},
			{Key: "level", Rule: command.Number("", 1<<20), Help: "how hard to compress, in the format's own numbers; 0 is its default"},
			{Key: "space_check", Rule: command.Yes(), Help: "no begins even if the data do not fit"},
		}, more...),
		Others: "the format's own (imsfs convert -O FORMAT -o help lists them)",
		Job:    true, In: in, Role: command.Viewer,
	}
}

// imageVerbs are the commands on an image.
var imageVerbs = []verb[*Image]{
	{Spec: command.Spec{
		Name: "delete", Help: "forget the image; its source stays as it is",
		In: []catalog.State{catalog.Queued, catalog.Saving, catalog.Active, catalog.Killed}, Role: command.Owner,
	}, Prepare: (*Image).delete},
	{Spec: command.Spec{
		Name: "rename", Help: "give the image another name",
		Args: []command.Option{nameArg("NAME", "the new name")}, In: named, Role: command.Editor,
	}, Prepare: (*Image).rename},
	{Spec: command.Spec{
		Name: "set", Help: "set an attribute", Args: setArgs, In: named, Role: command.Editor,
	}, Prepare: (*Image).set},
	{Spec: command.Spec{
		Name: "tag", Help: "set a tag", Args: tagArgs, In: named, Role: command.Editor,
	}, Prepare: (*Image).tag},
	{Spec: command.Spec{
		Name: "untag", Help: "remove a tag", Args: tagArgs[:1], In: named, Role: command.Editor,
	}, Prepare: (*Image).untag},
	{Spec: command.Spec{
		Name: "clone", Help: "make a volume, a writable disk that begins as the image is",
		Args:    []command.Option{nameArg("VOLUME", "the volume's name")},
		Options: []command.Option{{Key: "size", Value: "N", Rule: command.DiskSize(blockstore.MaxDiskSize), Help: "the size of its disk in bytes, at least the image's"}},
		In:      active, Role: command.Viewer,
	}, Prepare: (*Image).clone},
	{Spec: command.Spec{
		Name: "prefetch", Help: "load a range, or all of the disk, into the store",
		Args: []command.Option{
			{Key: "OFF", Rule: command.Bytes(1 << 62), Optional: true, Help: "where the range begins, in bytes"},
			{Key: "LEN", Rule: command.Bytes(1 << 62), Optional: true, Help: "its length in bytes"},
		},
		Job: true, In: active, Role: command.Editor,
	}, Prepare: (*Image).prefetch},
	{Spec: command.Spec{
		Name: "hydrate", Help: "load all of the disk into the store and keep it: from then on the source is not needed",
		Job: true, In: active, Role: command.Editor,
	}, Prepare: (*Image).hydrate},
	{Spec: command.Spec{
		Name: "evict", Help: "drop from the store what the source can give again",
		Job: true, In: active, Role: command.Editor,
	}, Prepare: (*Image).evict},
	{Spec: command.Spec{
		Name: "verify", Help: "hash every block that the store has of the image again; a damaged one is loaded again",
		Job: true, In: active, Role: command.Editor,
	}, Prepare: (*Image).verify},
	{Spec: command.Spec{
		Name: "refresh", Help: "accept the source as it is now, after it was moved and is back; its disk must be the same",
		In: active, Role: command.Editor, Needs: command.Idle,
	}, Prepare: (*Image).refresh},
	{Spec: exportSpec(active, "write the disk to a file in a format, and read that back"), Prepare: (*Image).export},
	{Spec: command.Spec{Name: "cancel", Help: "end the job", In: active, Role: command.Editor},
		Prepare: func(i *Image, _ context.Context, _ *command.Args) (plan, error) { return cancelJob(&i.jobs) }},
}

// ImageVerbs returns the table of verbs on an image as its users see it.
func ImageVerbs() []command.Spec { return command.Specs(imageVerbs) }

// Label names the image in the journal.
func (i *Image) Label() string { return "image " + i.Name() }

// Meet brings the image into the condition that a verb needs.
func (i *Image) Meet(_ context.Context, needs command.Needs) (func(), error) {
	return meetIdle(&i.jobs, needs)
}

// Do runs one command on the image. Its error is one sentence, and is what LastError returns until
// the next command.
func (i *Image) Do(ctx context.Context, call command.Call) error {
	return do(ctx, i.reg, &i.jobs, imageVerbs, i, call)
}

// Verbs lists the commands that may be used on the image now, a line each.
func (i *Image) Verbs() string { return command.Listing(imageVerbs, i.record().State) }

// Job returns the line of the latest job, "" if there was none since the start.
func (i *Image) Job() string { return i.jobs.Line() }

// LastError returns the sentence of the last command on this image, or of its job that failed
// since; "" if all went well.
func (i *Image) LastError() string { return i.jobs.LastError() }
