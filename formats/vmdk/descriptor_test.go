package vmdk

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func TestHostileDescriptors(t *testing.T) {
	good := describe("monolithicFlat", `RW 8 FLAT "a" 0`)
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	extent := func(line string) string { return swap(`RW 8 FLAT "a" 0`, line) }
	corrupt, unsupported := formats.ErrCorrupt, errors.ErrUnsupported
	beside := files{
		"a": formattest.Bytes(make([]byte, 4096)), "d": formattest.Bytes(good), "cowd": formattest.Bytes("COWD" + strings.Repeat("\x00", 2048)),
		"se": formattest.Bytes(magicSESparse + strings.Repeat("\x00", 2048)), "sparse": formattest.Bytes(single()["hosted"].build()),
	}
	for _, c := range []struct {
		name, text string
		kind       error
		words      []string
	}{
		{"first line only", firstLine, corrupt, []string{"version is missing"}},
		{"no version", swap("version=1\n", ""), corrupt, []string{"version is missing"}},
		{"version 4", swap("version=1", "version=4"), unsupported, []string{`version "4"`}},
		{"version 0", swap("version=1", "version=0"), unsupported, []string{`version "0"`}},
		{"version x", swap("version=1", "version=x"), unsupported, []string{`version "x"`}},
		{"two versions", swap("version=1", "version=1\nVERSION=1"), corrupt, []string{"version is given twice"}},
		{"no CID", swap("\nCID=1234abcd", ""), corrupt, []string{"cid is missing"}},
		{"two CIDs", swap("\nCID=1234abcd", "\nCID=1\ncid=1"), corrupt, []string{"cid is given twice", "at 0x26"}},
		{"a long CID", swap("1234abcd", "1234abcd0"), corrupt, []string{"cid", "eight hexadecimal digits"}},
		{"a negative CID", swap("1234abcd", "-1"), corrupt, []string{"cid", "eight hexadecimal digits"}},
		{"no parentCID", swap("parentCID=ffffffff\n", ""), corrupt, []string{"parentcid is missing"}},
		{"a strange parentCID", swap("parentCID=ffffffff", "parentCID=none"), corrupt, []string{"parentcid"}},
		{"a parent without a name", swap("parentCID=ffffffff", "parentCID=00000001"), corrupt, []string{"parentCID is 00000001", "parentFileNameHint"}},
		{"a parent's name alone", swap("parentCID=ffffffff", "parentCID=ffffffff\nparentFileNameHint=\"p\""), corrupt, []string{"parentFileNameHint", "no parent"}},
		{"two parents", swap("parentCID=ffffffff", "parentCID=1\nparentFileNameHint=\"p\"\nparentFileNameHint=\"q\""), corrupt, []string{"parentfilenamehint is given twice"}},
		{"no createType", swap("createType=\"monolithicFlat\"\n", ""), corrupt, []string{"createtype is missing"}},
		{"no extents", extent(""), corrupt, []string{"no extents"}},
		{"a line of nothing", extent("hello"), corrupt, []string{`the line "hello" is neither`}},
		{"another access", extent(`WO 8 FLAT "a" 0`), corrupt, []string{"neither an extent nor"}},
		{"no access", extent(`NOACCESS 8 FLAT "a" 0`), unsupported, []string{"NOACCESS"}},
		{"access alone", extent(`RW`), corrupt, []string{`extent of "" sectors`}},
		{"no sectors", extent(`RW 0 FLAT "a" 0`), corrupt, []string{`extent of "0" sectors`}},
		{"negative sectors", extent(`RW -8 FLAT "a" 0`), corrupt, []string{`extent of "-8" sectors`}},
		{"hexadecimal sectors", extent(`RW 0x8 FLAT "a" 0`), corrupt, []string{`extent of "0x8" sectors`}},
		{"too many sectors", extent(`RW 2251799813685249 FLAT "a" 0`), corrupt, []string{"2251799813685248"}},
		{"sectors that overflow", extent(`RW 18446744073709551624 FLAT "a" 0`), corrupt, []string{"sectors"}},
		{"sectors that are negative bytes", extent(`RW 36028797018963968 FLAT "a" 0`), corrupt, []string{"sectors"}},
		{"a sum that overflows", extent(strings.Repeat("RW 2251799813685248 ZERO\n", 4000)), corrupt, []string{"together", "2251799813685248 sectors"}},
		{"no type", extent(`RW 8`), unsupported, []string{`type ""`}},
		{"an unknown type", extent(`RW 8 BUMPY "a" 0`), unsupported, []string{`type "BUMPY"`}},
		{"no vmfsSparse file", extent(`RW 8 VMFSSPARSE "a"`), corrupt, []string{`"a"`, "magic number"}},
		{"no seSparse file", extent(`RW 8 SESPARSE "a"`), corrupt, []string{`"a"`, "magic number"}},
		{"a raw device", extent(`RW 8 VMFSRDM "a"`), unsupported, []string{"raw device mapping"}},
		{"zeros in a file", extent(`RW 8 ZERO "a"`), corrupt, []string{"ZERO"}},
		{"no name", extent(`RW 8 FLAT`), corrupt, []string{"name of its file in quotes"}},
		{"a bare name", extent(`RW 8 FLAT a 0`), corrupt, []string{"name of its file in quotes"}},
		{"an open name", extent(`RW 8 FLAT "a 0`), corrupt, []string{"name of its file in quotes"}},
		{"an empty name", extent(`RW 8 FLAT "" 0`), corrupt, []string{"name of its file in quotes"}},
		{"a name with a tab", extent("RW 8 FLAT \"a\tb\" 0"), corrupt, []string{"control characters", `"a\tb"`}},
		{"flat without an offset", extent(`RW 8 FLAT "a"`), corrupt, []string{"FLAT must have an offset"}},
		{"sparse with an offset", extent(`RW 8 SPARSE "a" 0`), corrupt, []string{"sparse ones none"}},
		{"a negative offset", extent(`RW 8 FLAT "a" -1`), corrupt, []string{`offset "-1"`}},
		{"an offset that overflows", extent(`RW 8 FLAT "a" 36028797018963968`), corrupt, []string{"offset"}},
		{"a word for an offset", extent(`RW 8 FLAT "a" "0"`), corrupt, []string{"offset", "must be a number"}},
		{"an unknown encoding", extent("RW 8 FLAT \"\xff\" 0\nencoding=\"klingon\""), unsupported, []string{`encoding "klingon"`, "GBK"}},
		{"an encoding of pairs", extent("RW 8 FLAT \"\xff\" 0\nencoding=\"UTF-16LE\""), unsupported, []string{`encoding "UTF-16LE"`}},
		{"a name that is not in its encoding", extent("RW 8 FLAT \"\xff\" 0\nencoding=\"GBK\""), corrupt, []string{`"\xff" must be text in encoding "GBK"`}},
		{"a file too short", extent(`RW 8 FLAT "a" 1`), corrupt, []string{`vmdk: "a": at 0x1000`, "4096 bytes from 0x200"}},
		{"no sparse file", extent(`RW 8 SPARSE "a"`), corrupt, []string{`"a"`, "magic number"}},
		{"a descriptor in a descriptor", extent(`RW 8 SPARSE "d"`), corrupt, []string{`"d"`, "a descriptor where a sparse extent must be"}},
		{"an empty COWD file", extent(`RW 8 SPARSE "cowd"`), corrupt, []string{`"cowd"`, "capacity is 0"}},
		{"an seSparse file", extent(`RW 8 SPARSE "se"`), unsupported, []string{`"se"`, "seSparse"}},
		{"another capacity", extent(`RW 8 SPARSE "sparse"`), corrupt, []string{`"sparse": at 0xc`, "capacity is 6149, must be the 8 sectors"}},
		{"no such file", extent(`RW 8 FLAT "b" 0`), iofs.ErrNotExist, []string{`extent in "b"`}},
		{"4097 extents", describe("x", slices.Repeat([]string{`RW 1 FLAT "a" 0`}, 4097)...), corrupt, []string{"more than 4096 extents"}},
		{"more than a MiB", good + strings.Repeat("# nothing\n", 110_000), corrupt, []string{"descriptor", "at most 1048576"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			formattest.WantError(t, openError(t, formattest.Bytes(c.text), beside), c.kind, c.words...)
		})
	}
}

func TestHostileNamesAreOnlyHandedOn(t *testing.T) {
	for _, name := range []string{"/etc/shadow", "../x", "nbd://host/x", "json:{}", `\\.\PhysicalDrive0`, "a=b"} {
		text := formattest.Bytes(describe("x", fmt.Sprintf(`RW 8 FLAT "%s" 0`, name)))
		formattest.WantError(t, openError(t, text, nil), errors.ErrUnsupported, "several files")
		formattest.WantError(t, openError(t, text, files{}), iofs.ErrNotExist, "extent in")
		beside := files{name: formattest.Bytes(make([]byte, 4096))}
		openSource(t, text, beside)
	}
}

func TestDescriptorsAsPeopleWriteThem(t *testing.T) {
	for name, text := range map[string]string{
		"as it is":    describe("monolithicFlat", `RW 8 FLAT "a" 0`),
		"CRLF":        strings.ReplaceAll(describe("monolithicFlat", `RW 8 FLAT "a" 0`), "\n", "\r\n"),
		"upper case":  "# DISK DESCRIPTORFILE\nVERSION=1\nCID=1234ABCD\nPARENTCID=FFFFFFFF\nCREATETYPE=\"x\"\nRW 8 FLAT \"a\" 0",
		"spaces":      "# Disk DescriptorFile \n\n \t\n  version = 1\nCID\t= 1234abcd \nencoding=\"windows-1252\"\nparentCID=ffffffff\ncreateType = \"x\" \n\n  rdonly   8  flat   \"a\"   0  \n",
		"padded":      describe("monolithicFlat", `RW 8 FLAT "a" 0`) + strings.Repeat("\x00", 300) + "garbage",
		"an ESX disk": describe("vmfs", `RW 8 VMFS "a"`),
		"at 0":        describe("vmfs", `RW 8 VMFS "a" 0`),
		"six words":   describe("monolithicFlat", `RW 8 FLAT "a" 0 "5f1b2c3d-0000-0000-0000-000000000001"`),
		"seven words": describe("monolithicFlat", `RW 8 FLAT "a" 0 "5f1b2c3d-0000-0000-0000-000000000001" "t10.ATA disk"`),
	} {
		t.Run(name, func(t *testing.T) {
			info := openSource(t, formattest.Bytes(text), files{"a": formattest.Bytes(make([]byte, 4096))}).Info()
			if info.Size != 4096 || info.ID != "1234abcd" {
				t.Errorf("Info = %+v", info)
			}
		})
	}
}

// TestDescriptorsAreKnownByTheirText: a text that only a descriptor can be is claimed, so that it is never taken for a raw disk.
func TestDescriptorsAreKnownByTheirText(t *testing.T) {
	body := "version=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\nRW 8 FLAT \"a\" 0\n"
	beside := files{"a": formattest.Bytes(formattest.Pattern(0, 4096))}
	for name, text := range map[string]string{
		"the usual first line":     "# Disk DescriptorFile\n" + body,
		"with one more space":      "# Disk Descriptor File\n" + body,
		"without spaces":           "#DiskDescriptorFile\n" + body,
		"without the first space":  "#Disk DescriptorFile\n" + body,
		"in lower case":            "# disk descriptorfile\n" + body,
		"a comment before it":      "# made by a script\n\n# Disk DescriptorFile\n" + body,
		"only another comment":     "# a disk\n" + body,
		"version first":            body,
		"version 3 after comments": "#\n\n \n" + strings.Replace(body, "version=1", "version=3", 1),
		"a byte order mark":        "\xef\xbb\xbf# Disk DescriptorFile\n" + body,
		"a mark before version":    "\xef\xbb\xbf" + body,
		"lines of Windows":         strings.ReplaceAll("# Disk DescriptorFile\n"+body, "\n", "\r\n"),
		"CID first":                strings.Replace(body, "version=1\nCID=1234abcd", "CID=1234abcd\nversion=1", 1),
		"padded with zeros":        "# Disk DescriptorFile\n" + body + strings.Repeat("\x00", 2000),
		"spaces around the equals": strings.ReplaceAll(body, "=", " = "),
	} {
		t.Run(name, func(t *testing.T) {
			img := openSource(t, formattest.Bytes(text), beside)
			p := make([]byte, 4096)
			if err := img.ReadAt(t.Context(), p, 0); err != nil || string(p) != string(formattest.Pattern(0, 4096)) {
				t.Errorf("it reads something else, %v", err)
			}
		})
	}
	t.Run("not even what must be there", func(t *testing.T) {
		formattest.WantError(t, openError(t, formattest.Bytes("hello\ncreateType=\"x\"\n"), nil), formats.ErrCorrupt, `"hello" is neither`)
	})
	t.Run("UTF-16", func(t *testing.T) {
		for _, mark := range []string{"\xff\xfe", "\xfe\xff\x00"} {
			wide := mark + strings.Join(strings.Split("# Disk DescriptorFile\n"+body, ""), "\x00") + "\x00"
			formattest.WantError(t, openError(t, formattest.Bytes(wide), nil), errors.ErrUnsupported, "UTF-16", "save it as UTF-8")
		}
	})
	for name, content := range map[string]string{
		"another text":       "version=10\nname=x\n",
		"version further on": "name=x\nversion=1\n",
		"a boot sector":      "\xeb\x3ccreateType=\n" + strings.Repeat("\x90", 500) + "\x55\xaa",
		"text beyond 1 KiB":  strings.Repeat("# x\n", 256) + body,
	} {
		t.Run(name+" is not claimed", func(t *testing.T) {
			if ok, err := New().Probe(t.Context(), formattest.Bytes(content)); ok || err != nil {
				t.Errorf("Probe: %v, %v", ok, err)
			}
		})
	}
	t.Run("by name any text is read that can be", func(t *testing.T) {
		img, err := New().Open(t.Context(), formattest.Bytes(strings.Repeat("# x\n", 256)+body), formats.OpenOptions{Files: beside})
		if err != nil || img.Info().Size != 4096 {
			t.Errorf("Open: %v", err)
		}
	})
}

func TestNamesAreDecoded(t *testing.T) {
	for encoding, name := range map[string]string{
		"":             "系统",
		"UTF-8":        "系统",
		"GBK":          "\xcf\xb5\xcd\xb3",
		"windows-936":  "\xcf\xb5\xcd\xb3",
		"Big5":         "\xa8t\xb2\xce",
		"Shift_JIS":    "\x8e\xc0",
		"windows-932":  "\x8e\xc0",
		"windows-1252": "Gr\xf6\xdfe",
		"windows-1251": "\xc4\xe8\xf1\xea",
		"EUC-KR":       "\xb5\xf0",
	} {
		want := map[string]string{"Big5": "系統", "Shift_JIS": "実", "windows-932": "実", "windows-1252": "Größe", "windows-1251": "Диск", "EUC-KR": "디"}[encoding]
		if want == "" {
			want = "系统"
		}
		t.Run(encoding, func(t *testing.T) {
			text := describe("monolithicFlat", "RW 8 FLAT \""+name+"-flat.vmdk\" 0")
			text = strings.Replace(text, "parentCID=ffffffff", "parentCID=1\nparentFileNameHint=\""+name+".vmdk\"", 1)
			if encoding != "" {
				text = strings.Replace(text, "version=1\n", "version=1\nencoding=\""+encoding+"\"\n", 1)
			}
			img := openSource(t, formattest.Bytes(text), files{want + "-flat.vmdk": formattest.Bytes(make([]byte, 4096))})
			if got := img.Info().Backing.Paths[0]; got != want+".vmdk" {
				t.Errorf("the parent is %q", got)
			}
		})
	}
}

// TestHeaderWithoutCapacity: it is there for its descriptor only.
func TestHeaderWithoutCapacity(t *testing.T) {
	s := single()["hosted"]
	s.descriptor = describe("custom", `RW 8 FLAT "a" 0`, `RW 8 FLAT "a" 0`)
	image := s.build()
	poke(image, 0, "capacity", 0)
	poke(image, 0, "grainSize", 0)
	if info := openSource(t, formattest.Bytes(image), files{"a": formattest.Bytes(make([]byte, 4096))}).Info(); info.Size != 8192 {
		t.Errorf("Info = %+v", info)
	}
	poke(image, 0, "descriptorSize", 0)
	formattest.WantError(t, openError(t, formattest.Bytes(image), files{}), formats.ErrCorrupt, "descriptorSize is 0")
}

// TestExtentWithRoomForADescriptor: so qemu-img makes the files of a disk in pieces.
func TestExtentWithRoomForADescriptor(t *testing.T) {
	image := single()["hosted"].build()
	clear(image[sector : 21*sector])
	err := openError(t, formattest.Bytes(image), nil)
	formattest.WantError(t, err, errors.ErrUnsupported, "one extent of a disk, without a descriptor")
}

func TestManyExtentsInAnEmbeddedDescriptor(t *testing.T) {
	s := single()["hosted"]
	s.descriptor = describe("custom", `RW 8 FLAT "a" 0`, `RW 8 FLAT "b" 0`)
	formattest.WantError(t, openError(t, formattest.Bytes(s.build()), files{}), errors.ErrUnsupported, "a descriptor of 2 extents inside one of them")
}

func TestDetailsOfHostileTextAreHarmless(t *testing.T) {
	s := single()["hosted"]
	s.descriptor = ownDescriptor("a\x1b[2Jb"+strings.Repeat("c", 500), oddSize)
	for _, d := range openSource(t, formattest.Bytes(s.build()), nil).Info().Details {
		if strings.ContainsFunc(d.Value, func(r rune) bool { return r < ' ' }) || len(d.Value) > 200 {
			t.Errorf("%s is %q", d.Key, d.Value)
		}
	}
}

func TestSnapshotIsRefused(t *testing.T) {
	_, err := New().Open(t.Context(), formattest.Bytes(single()["hosted"].build()), formats.OpenOptions{Snapshot: "x"})
	formattest.WantError(t, err, errors.ErrUnsupported, "snapshot")
}
