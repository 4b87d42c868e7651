package inspect

import (
	"context"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/inspect/volume"
)

// addVolumes adds the logical volumes that the slices are members of. A volume that cannot be read,
// for example because a member is on another disk, is a slice whose Tree has the reason.
func (l *Layout) addVolumes(ctx context.Context, opts Options) error {
	var members []volume.Member
	for _, s := range l.Slices {
		if s.Content().Type == "LVM2_member" {
			members = append(members, volume.Member{ID: s.ID, Src: s.src})
		}
	}
	if len(members) == 0 {
		return nil
	}
	volumes, notes, err := volume.LVM(ctx, members)
	if err != nil {
		return err
	}
	l.Table.Notes = append(l.Table.Notes, notes...)
	for _, v := range volumes {
		s := &Slice{ID: v.Group + "-" + v.Name, Kind: LogicalVolume, Off: -1, Size: v.Size, src: v.Src}
		if v.Err != nil {
			s.err = fmt.Errorf("%s: %w", s.ID, v.Err)
			s.Notes = append(s.Notes, v.Err.Error())
		} else if err := s.recognise(ctx, opts); err != nil {
			return err
		}
		l.Slices = append(l.Slices, s)
	}
	return nil
}

// sameVolume reports whether an ID "vg-lv" and a name "vg/lv" are of the same volume.
func sameVolume(id, name string) bool {
	return strings.Count(name, "/") == 1 && strings.ReplaceAll(name, "/", "-") == id
}
