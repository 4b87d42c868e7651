package lifecycle

import (
	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Attribute is something that people write about an image or a volume. imsfs itself only minds
// "protected".
type Attribute struct{ Key, Value string }

// maxValue is the most bytes the value of an attribute may have.
const maxValue = 1024

// attributeOptions are all attributes, in the order in which they are shown.
func attributeOptions() []command.Option {
	return []command.Option{
		{Key: "description", Rule: command.OrNone(command.Text(maxValue)), Help: "any text"},
		{Key: "type", Rule: command.OrNone(command.OneOf("system", "data", "iso", "whole")), Help: "what the disk is for"},
		{Key: "os", Rule: command.OrNone(command.OneOf("linux", "windows", "other")), Help: "the kind of operating system"},
		{Key: "os_version", Rule: command.OrNone(command.Text(maxValue)), Help: "its name and version"},
		{Key: "arch", Rule: command.OrNone(command.OneOf("x86_64", "aarch64")), Help: "the processor it is for"},
		{Key: "firmware", Rule: command.OrNone(command.OneOf("bios", "uefi")), Help: "what boots it"},
		{Key: "min_disk", Rule: command.OrNone(command.Number("GiB", 1<<30)), Help: "the least disk it needs, GiB"},
		{Key: "min_ram", Rule: command.OrNone(command.Number("MiB", 1<<30)), Help: "the least memory it needs, MiB"},
		{Key: "protected", Rule: command.OrNone(command.Yes()), Help: "yes refuses delete"},
	}
}

// Attributes returns the keys of all attributes, in order, with the words for their values.
func Attributes() []command.Option { return attributeOptions() }

// VolumeAttributes returns the keys that the verb set takes for a volume.
func VolumeAttributes() []command.Option { return volumeOptions() }

// takeAttributes sets the attributes that were given to a command.
func takeAttributes(args *command.Args, meta map[string]string) map[string]string {
	for _, o := range attributeOptions() {
		if args.Has(o.Key) {
			meta = catalog.With(meta, o.Key, args.Text(o.Key))
		}
	}
	return meta
}

// allAttributes lists every attribute, with "" for one that was not set.
func allAttributes(meta map[string]string) []Attribute {
	options := attributeOptions()
	all := make([]Attribute, len(options))
	for n, o := range options {
		all[n] = Attribute{o.Key, meta[o.Key]}
	}
	return all
}

// volumeOptions lists the keys that set changes of a volume: its attributes, owner and shared.
func volumeOptions() []command.Option {
	return append(attributeOptions(),
		command.Option{Key: "owner", Rule: command.OrNone(ownerRule{}), Help: "UID or UID:GID of a user that may write to the disk too"},
		command.Option{Key: "shared", Rule: command.OrNone(command.Yes()), Help: "yes lets several processes write to the disk"})
}
