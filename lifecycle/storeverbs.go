package lifecycle

import (
	"context"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// nameArg is an argument that is to be the name of a new image or volume.
func nameArg(key, help string) command.Option {
	return command.Option{Key: key, Rule: command.Name(), Help: help}
}

// storeVerbs are the commands on the store as a whole.
var storeVerbs = []verb[*Registry]{
	{Spec: command.Spec{
		Name: "register", Help: "make an image of a file",
		Args: []command.Option{
			nameArg("NAME", "the image's name"),
			{Key: "SOURCE", Help: "the absolute path of the file, as the daemon sees it"},
		},
		Options: append([]command.Option{
			{Key: "format", Help: "the driver to use instead of finding it by content"},
			{Key: "load", Rule: command.OneOf("lazy", "full", "none"), Help: "what the store keeps: the blocks that were read (lazy, the default), all (full, by a job), none"},
			{Key: "snapshot", Help: "the internal snapshot, by name or ID, to read instead of the active state"},
			{Key: "backing", Help: "the absolute path of the backing image, in place of the name in the image"},
		}, attributeOptions()...),
		Role: command.Editor,
	}, Prepare: (*Registry).register},
	{Spec: command.Spec{
		Name: "create", Help: "make an empty volume",
		Args:    []command.Option{nameArg("VOLUME", "the volume's name")},
		Options: []command.Option{{Key: "size", Value: "N", Rule: command.DiskSize(blockstore.MaxDiskSize), Required: true, Help: "the size of the disk in bytes, a multiple of 512"}},
		Role:    command.Editor,
	}, Prepare: (*Registry).create},
	{Spec: command.Spec{
		Name: "verify", Help: "hash every block of the store again; a damaged one is out of use until it is loaded again",
		Job: true, Role: command.Editor,
	}, Prepare: (*Registry).verify},
	{Spec: command.Spec{
		Name: "sweep", Help: "free the blocks that no disk needs",
		Job: true, Role: command.Editor,
	}, Prepare: (*Registry).sweep},
	{Spec: command.Spec{
		Name: "compact", Help: "move blocks out of files that are mostly holes",
		Job: true, Role: command.Editor,
	}, Prepare: (*Registry).compact},
	{Spec: command.Spec{Name: "cancel", Help: "end the job on the store", Role: command.Editor},
		Prepare: func(r *Registry, _ context.Context, _ *command.Args) (plan, error) { return cancelJob(&r.jobs) }},
}

// StoreVerbs, ImageVerbs and VolumeVerbs return the tables of verbs as their users see them.
func StoreVerbs() []command.Spec { return command.Specs(storeVerbs) }

// Label names the store in the journal.
func (r *Registry) Label() string { return "store" }

// State returns "": every verb of the store may be used always.
func (r *Registry) State() (catalog.State, error) { return "", nil }

// Meet brings the store into the condition that a verb needs.
func (r *Registry) Meet(_ context.Context, needs command.Needs) (func(), error) {
	return meetIdle(&r.jobs, needs)
}

// Do runs one command on the store. Its error is one sentence, and is what LastError returns until
// the next command.
func (r *Registry) Do(ctx context.Context, call command.Call) error {
	return do(ctx, r, &r.jobs, storeVerbs, r, call)
}

// Verbs lists the commands on the store, a line each.
func (r *Registry) Verbs() string { return command.Listing(storeVerbs, "") }

// Job returns the line of the latest job on the store, "" if there was none since the start.
func (r *Registry) Job() string { return r.jobs.Line() }

// LastError returns the sentence of the last command on the store, or of its job that failed since;
// "" if all went well.
func (r *Registry) LastError() string { return r.jobs.LastError() }
