package lifecycle

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// Tags are free labels of an image, KEY=VALUE.

// The limits of tags.
const (
	maxTags     = 10 // of an image
	maxTagKey   = 36 // characters
	maxTagValue = 43
)

var tagArgs = []command.Option{
	{Key: "KEY", Rule: tagKey{}, Help: "the tag's key"},
	{Key: "VALUE", Rule: tagValue{}, Optional: true, Help: "its value; may be missing"},
}

type tagKey struct{}

// Words describes the keys that are allowed.
func (tagKey) Words() string {
	return fmt.Sprintf("1 to %d letters, digits, _ or -", maxTagKey)
}

// Check refuses any other.
func (k tagKey) Check(v string) error {
	if v == "" || len(v) > maxTagKey || strings.ContainsFunc(v, func(c rune) bool { return !tagCharacter(c) }) {
		return errors.New("must be " + k.Words())
	}
	return nil
}

type tagValue struct{}

// Words describes the values that are allowed.
func (tagValue) Words() string {
	return fmt.Sprintf("0 to %d letters, digits, _, - or .", maxTagValue)
}

// Check refuses any other.
func (r tagValue) Check(v string) error {
	if len(v) > maxTagValue || strings.ContainsFunc(v, func(c rune) bool { return !tagCharacter(c) && c != '.' }) {
		return errors.New("must be " + r.Words())
	}
	return nil
}

func tagCharacter(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}

// CheckTag refuses what cannot be the key of a tag; iofs.ErrInvalid.
func CheckTag(key string) error {
	return command.CheckOption([]command.Option{{Key: "tag", Rule: tagKey{}}}, "tag", key)
}

// tag is the verb: it adds a tag, or changes one.
func (i *Image) tag(_ context.Context, args *command.Args) (plan, error) {
	key, value := args.Text("KEY"), args.Text("VALUE")
	return i.change(func(rec *catalog.Image) error {
		if _, ok := rec.Tags[key]; !ok && len(rec.Tags) >= maxTags {
			return command.Refuse(iofs.ErrInvalid, "the image %q has %d tags (at most %d): untag one first", rec.Name, len(rec.Tags), maxTags)
		}
		tags := maps.Clone(rec.Tags)
		if tags == nil {
			tags = map[string]string{}
		}
		tags[key] = value
		rec.Tags = tags
		return nil
	}, nil), nil
}

// untag is the verb: it removes a tag.
func (i *Image) untag(_ context.Context, args *command.Args) (plan, error) {
	key := args.Text("KEY")
	return i.change(func(rec *catalog.Image) error {
		if _, ok := rec.Tags[key]; !ok {
			return command.Refuse(iofs.ErrNotExist, "the image %q has no tag %q", rec.Name, key)
		}
		rec.Tags = maps.Clone(rec.Tags)
		delete(rec.Tags, key)
		return nil
	}, nil), nil
}

// Tags lists the image's tags by key.
func (i *Image) Tags() []Attribute {
	tags := i.record().Tags
	all := make([]Attribute, 0, len(tags))
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		all = append(all, Attribute{key, tags[key]})
	}
	return all
}
