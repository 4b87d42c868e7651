package volume

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
)

const (
	mdaMagic    = " LVM2 x[5A%r0N*>"
	maxMetadata = 4 << 20
	maxVolumes  = 256
	maxMirrors  = 4 // volumes inside each other
)

// physical is a member with its metadata.
type physical struct {
	id   string
	src  disk.Source
	text string
}

// LVM returns the volumes of all groups whose members are given. Notes are about members that
// cannot be read. The error is only for a context that ended or a spent budget.
func LVM(ctx context.Context, members []Member) (volumes []Volume, notes []string, err error) {
	var all []physical
	for _, m := range members {
		p, err := readPhysical(ctx, m.Src)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s: %v", m.ID, err))
			continue
		}
		all = append(all, p)
	}
	seen := map[string]bool{}
	for _, p := range all {
		top, err := parseText(p.text)
		if err != nil {
			notes = append(notes, err.Error())
			continue
		}
		for _, name := range top.names {
			if !seen[name] && len(volumes) < maxVolumes {
				seen[name] = true
				g := newGroup(name, top.sections[name], all)
				volumes = append(volumes, g.volumes()...)
			}
		}
	}
	return volumes, notes, nil
}

// readPhysical reads a label and the newest text metadata.
func readPhysical(ctx context.Context, src disk.Source) (physical, error) {
	p := physical{src: src}
	head := make([]byte, min(4096, src.Size()))
	if err := src.ReadMeta(ctx, head, 0); err != nil {
		return p, err
	}
	label := -1
	for at := 0; at+512 <= min(len(head), 2048); at += 512 {
		if string(head[at:][:8]) == "LABELONE" {
			label = at
			break
		}
	}
	if label < 0 {
		return p, disk.Corrupt("lvm", "label", "there is none in the first 4 sectors")
	}
	header := int64(label) + int64(binary.LittleEndian.Uint32(head[label+20:]))
	if header+40 > int64(len(head)) {
		return p, disk.Corrupt("lvm", "label", "the header is at %d", header)
	}
	p.id = string(head[header:][:32])
	areas := head[header+40:]
	lists := 0 // of data areas, then of metadata areas; each ends with zeros
	for ; len(areas) >= 16; areas = areas[16:] {
		off, size := binary.LittleEndian.Uint64(areas), binary.LittleEndian.Uint64(areas[8:])
		if off == 0 {
			if lists++; lists == 2 {
				break
			}
			continue
		}
		if lists == 1 && off < 1<<60 && size < 1<<60 {
			return p, p.metadata(ctx, int64(off), int64(size))
		}
	}
	return p, nil // a member without metadata of its own
}

// metadata reads the text of an area, which is a ring.
func (p *physical) metadata(ctx context.Context, off, size int64) error {
	head := make([]byte, 512)
	if !disk.Within(off, size, p.src.Size()) || size < 1024 {
		return disk.Corrupt("lvm", "metadata area", "[%d, +%d) of %d bytes", off, size, p.src.Size())
	}
	if err := p.src.ReadMeta(ctx, head, off); err != nil {
		return err
	}
	if string(head[4:20]) != mdaMagic {
		return disk.Corrupt("lvm", "metadata area", "its magic is %q", head[4:20])
	}
	at, n := binary.LittleEndian.Uint64(head[40:]), binary.LittleEndian.Uint64(head[48:])
	if at == 0 {
		return nil // a member of no group yet
	}
	if at < 512 || at >= uint64(size) || n > min(maxMetadata, uint64(size)) {
		return disk.Corrupt("lvm", "metadata area", "text at [%d, +%d) of %d bytes", at, n, size)
	}
	text := make([]byte, n)
	first := min(int64(n), size-int64(at))
	if err := p.src.ReadMeta(ctx, text[:first], off+int64(at)); err != nil {
		return err
	}
	if rest := text[first:]; len(rest) > 0 {
		if int64(len(rest)) > size-512 {
			return disk.Corrupt("lvm", "metadata area", "text of %d bytes in an area of %d", n, size)
		}
		if err := p.src.ReadMeta(ctx, rest, off+512); err != nil {
			return err
		}
	}
	p.text = string(text)
	return nil
}

// group is a volume group.
type group struct {
	name    string
	text    *section
	extent  int64 // bytes
	members map[string]stripe
}

func newGroup(name string, text *section, all []physical) *group {
	g := &group{name: name, text: text, extent: text.number("extent_size") * 512, members: map[string]stripe{}}
	pvs := text.sections["physical_volumes"]
	if pvs == nil {
		return g
	}
	for _, pv := range pvs.names {
		s := pvs.sections[pv]
		id := strings.ReplaceAll(s.text("id"), "-", "")
		for _, p := range all {
			if p.id == id && s.number("pe_start") >= 0 {
				g.members[pv] = stripe{p.src, s.number("pe_start") * 512}
			}
		}
	}
	return g
}

// volumes returns the visible volumes.
func (g *group) volumes() []Volume {
	var list []Volume
	lvs := g.text.sections["logical_volumes"]
	if lvs == nil {
		return nil
	}
	for _, name := range lvs.names {
		if !lvs.sections[name].has("status", "VISIBLE") || len(list) == maxVolumes {
			continue
		}
		v := Volume{Group: g.name, Name: name}
		m, err := g.volume(name, 0)
		if err != nil {
			v.Err = fmt.Errorf("%s/%s: %w", g.name, name, err)
		} else {
			v.Src, v.Size = m, m.size
		}
		list = append(list, v)
	}
	return list
}

func (g *group) volume(name string, depth int) (*mapped, error) {
	lv := g.text.sections["logical_volumes"].sections[name]
	if lv == nil || depth > maxMirrors || g.extent <= 0 || g.extent > 1<<40 {
		return nil, corrupt("volume %q is not there, or too deep, or has extents of %d bytes", name, g.extent)
	}
	count := lv.number("segment_count")
	if count < 1 || count > maxSections {
		return nil, corrupt("volume %q has %d segments", name, count)
	}
	m := &mapped{}
	for i := range count {
		s := lv.sections[fmt.Sprintf("segment%d", i+1)]
		if s == nil {
			return nil, corrupt("volume %q has no segment %d", name, i+1)
		}
		start, extents := s.number("start_extent"), s.number("extent_count")
		if start < 0 || extents < 1 || extents > (1<<60)/g.extent || start*g.extent != m.size {
			return nil, corrupt("segment %d of %q: extents [%d, +%d) after %d bytes", i+1, name, start, extents, m.size)
		}
		seg, err := g.segment(s, extents*g.extent, depth)
		if err != nil {
			return nil, err
		}
		seg.off, seg.size = m.size, extents*g.extent
		m.size += seg.size
		m.segments = append(m.segments, seg)
	}
	return m, nil
}

// segment finds the stripes of a segment. Of a mirror one leg is read.
func (g *group) segment(s *section, size int64, depth int) (segment, error) {
	switch kind := s.text("type"); kind {
	case "striped", "linear":
		return g.striped(s, size)
	case "raid1", "mirror":
		legs := s.values["raids"]
		if kind == "mirror" {
			legs = s.values["mirrors"]
		}
		var last error
		for _, leg := range legs {
			if leg.number > 0 || strings.Contains(leg.text, "_rmeta_") || leg.text == "0" {
				continue
			}
			m, err := g.volume(leg.text, depth+1)
			if err == nil && m.size >= size {
				return segment{stripes: []stripe{{m, 0}}}, nil
			}
			last = err
		}
		if last == nil {
			last = corrupt("a mirror without a leg of %d bytes", size)
		}
		return segment{}, last
	default:
		return segment{}, disk.Unsupported("lvm", "segments of type %q", kind)
	}
}

func (g *group) striped(s *section, size int64) (segment, error) {
	list, count := s.values["stripes"], s.number("stripe_count")
	if count < 1 || int64(len(list)) != 2*count {
		return segment{}, corrupt("%d stripes, %d are listed", count, len(list)/2)
	}
	seg := segment{stripeSize: s.number("stripe_size") * 512}
	if count > 1 && (seg.stripeSize <= 0 || size%(count*seg.stripeSize) != 0) {
		return segment{}, corrupt("stripes of %d bytes in a segment of %d", seg.stripeSize, size)
	}
	for i := int64(0); i < 2*count; i += 2 {
		member, ok := g.members[list[i].text]
		if !ok {
			return segment{}, fmt.Errorf("the group's member %s is not on this disk: %w", list[i].text, errMissing)
		}
		first := list[i+1].number
		if first < 0 || first > (1<<60)/g.extent || !disk.Within(member.off+first*g.extent, size/count, member.src.Size()) {
			return segment{}, corrupt("a stripe at extent %d of %s is past its end", first, list[i].text)
		}
		seg.stripes = append(seg.stripes, stripe{member.src, member.off + first*g.extent})
	}
	return seg, nil
}

var errMissing = disk.Unsupported("lvm", "an incomplete volume")
