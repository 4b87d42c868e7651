package lifecycle

import (
	"context"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// commitSpec is the verbs commit and snapshot.
func commitSpec(name, help string) command.Spec {
	return command.Spec{
		Name: name, Help: help,
		Args: []command.Option{nameArg("IMAGE", "the image's name")},
		Options: append([]command.Option{
			{Key: "quiesce", Rule: command.Yes(), Help: "yes refuses while the disk is open for writing"},
		}, attributeOptions()...),
		Job: true, In: active, Role: command.Editor,
	}
}

// volumeVerbs are the commands on a volume.
var volumeVerbs = []verb[*Volume]{
	{Spec: command.Spec{
		Name: "delete", Help: "forget the volume and all that was written to it",
		Role: command.Owner, Needs: command.Unused,
	}, Prepare: (*Volume).delete},
	{Spec: command.Spec{
		Name: "rename", Help: "give the volume another name",
		Args: []command.Option{nameArg("NAME", "the new name")}, Role: command.Editor,
	}, Prepare: (*Volume).rename},
	{Spec: command.Spec{
		Name: "set", Help: "set an attribute; shared=yes lets several processes write to the disk", Args: setArgs, Role: command.Editor,
	}, Prepare: (*Volume).set},
	{Spec: command.Spec{
		Name: "resize", Help: "make the disk larger, or, by force, smaller",
		Args: []command.Option{
			{Key: "SIZE", Rule: command.DiskSize(blockstore.MaxDiskSize), Help: "the new size in bytes, a multiple of 512"},
			{Key: "force", Rule: command.OneOf("force"), Optional: true, Help: "allow a smaller disk"},
		},
		In: active, Role: command.Editor, Needs: command.Idle,
	}, Prepare: (*Volume).resize},
	{Spec: commitSpec("commit", "make an image of what the disk has now, and rest on it"),
		Prepare: func(v *Volume, ctx context.Context, args *command.Args) (plan, error) {
			return v.launchCommit(ctx, commitment{verb: "commit"}, args)
		}},
	{Spec: commitSpec("snapshot", "make an image of what the disk has now; a revert goes back to where it did before"),
		Prepare: func(v *Volume, ctx context.Context, args *command.Args) (plan, error) {
			return v.launchCommit(ctx, commitment{verb: "snapshot", snapshot: true}, args)
		}},
	{Spec: exportSpec(nil, "write what the disk has now to a file, as an image's export does",
		command.Option{Key: "salvage", Rule: command.Yes(), Help: "yes writes zeros for what cannot be read"}), Prepare: (*Volume).export},
	{Spec: command.Spec{Name: "cancel", Help: "end the job", Role: command.Editor},
		Prepare: func(v *Volume, _ context.Context, _ *command.Args) (plan, error) { return cancelJob(&v.jobs) }},
	{Spec: command.Spec{
		Name: "revert", Help: "drop all that was written since the volume was cloned or last committed",
		Role: command.Editor, Needs: command.Unused,
	}, Prepare: (*Volume).revert},
}

// VolumeVerbs returns the table of verbs on a volume as its users see it.
func VolumeVerbs() []command.Spec { return command.Specs(volumeVerbs) }

// Label names the volume in the journal.
func (v *Volume) Label() string { return "volume " + v.Name() }

// Meet brings the volume into the condition that a verb needs.
func (v *Volume) Meet(ctx context.Context, needs command.Needs) (func(), error) {
	if needs&command.Unused != 0 {
		return v.closedToAll(ctx)
	}
	return meetIdle(&v.jobs, needs)
}

// Do runs one command on the volume. Its error is one sentence, and is what LastError returns until
// the next command.
func (v *Volume) Do(ctx context.Context, call command.Call) error {
	return do(ctx, v.reg, &v.jobs, volumeVerbs, v, call)
}

// Verbs lists the commands that may be used on the volume now, a line each.
func (v *Volume) Verbs() string { return command.Listing(volumeVerbs, v.usableAs()) }

// Job returns the line of the latest job, "" if there was none since the start.
func (v *Volume) Job() string { return v.jobs.Line() }

// LastError returns the sentence of the last command on this volume, or of its job that failed
// since; "" if all went well.
func (v *Volume) LastError() string { return v.jobs.LastError() }

// Status returns the facts about the volume as "key value" lines: docs/control-files.md.
func (v *Volume) Status() string {
	rec, state := v.record(), v.usableAs()
	handles, writers := v.handles()
	var l lines
	l.add("id", rec.ID)
	l.add("name", rec.Name)
	l.add("state", state)
	l.add("size", rec.Size)
	if rec.Base != nil {
		l.sectorSize(rec.Base.SectorSize)
	}
	l.add("written", v.written())
	l.add("image", or(rec.From, "none"))
	l.add("created", rec.Created.Format(time.RFC3339))
	l.add("shared", yesNo(rec.Shared))
	if rec.Owner != "" {
		l.add("owner", rec.Owner)
	}
	l.add("opens", handles)
	l.add("writers", writers)
	if damage := v.Damage(); damage != "" {
		l.add("error", damage)
	}
	return l.String()
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

// usableAs returns the state that decides which verbs may be used.
func (v *Volume) usableAs() catalog.State {
	v.inspectDeltas()
	if v.Damage() != "" {
		return catalog.Damaged
	}
	return catalog.Active
}
