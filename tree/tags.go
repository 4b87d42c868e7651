package tree

import (
	"context"
	iofs "io/fs"
	"slices"

	"github.com/imsfs/imsfs/lifecycle"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// tags returns the directory with one text for each tag of an image. Creating, writing and removing
// a file is the command tag, or untag.
func tags(img *lifecycle.Image, is Thing) Node {
	return Dir{
		Thing: is,
		List: func() []Entry {
			var entries []Entry
			for _, tag := range img.Tags() {
				entries = append(entries, Entry{tag.Key, KindText, is.Key.Named(tag.Key)})
			}
			return entries
		},
		Find: func(key string) (Node, bool) {
			if _, ok := tagValue(img, key); !ok {
				return nil, false
			}
			return tagText(img, is, key), true
		},
		Edit: tagEditor{img, is},
	}
}

func tagValue(img *lifecycle.Image, key string) (string, bool) {
	all := img.Tags()
	i := slices.IndexFunc(all, func(a lifecycle.Attribute) bool { return a.Key == key })
	if i < 0 {
		return "", false
	}
	return all[i].Value, true
}

func tagText(img *lifecycle.Image, dir Thing, key string) Text {
	return Text{
		Thing: Thing{dir.Key.Named(key), dir.Time},
		Content: func(command.Actor) string {
			value, _ := tagValue(img, key)
			return line(value)
		},
		Set: func(ctx context.Context, by command.Actor, text string) error {
			return img.Do(ctx, command.Call{Line: command.Quote("tag", key, text), By: by})
		},
	}
}

// tagEditor is the Editor of the tags of an image.
type tagEditor struct {
	img *lifecycle.Image
	dir Thing
}

// Create returns the text of a tag that may be set. A name that cannot be a tag is iofs.ErrInvalid.
func (e tagEditor) Create(_ context.Context, _ command.Actor, key string) (Text, error) {
	if err := lifecycle.CheckTag(key); err != nil {
		return Text{}, err
	}
	return tagText(e.img, e.dir, key), nil
}

// Remove removes a tag; iofs.ErrNotExist if there is none.
func (e tagEditor) Remove(ctx context.Context, by command.Actor, key string) error {
	if _, ok := tagValue(e.img, key); !ok {
		return iofs.ErrNotExist
	}
	return e.img.Do(ctx, command.Call{Line: command.Quote("untag", key), By: by})
}
