package inspect

import (
	"context"
	"strings"
)

// addVolumes adds the volumes that the slices are members of.
func (l *Layout) addVolumes(context.Context, Options) error { return nil }

// sameVolume reports whether an ID "vg-lv" and a name "vg/lv" are of the same volume.
func sameVolume(id, name string) bool {
	return strings.Count(name, "/") == 1 && strings.ReplaceAll(name, "/", "-") == id
}
