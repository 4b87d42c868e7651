package qed

import (
	"fmt"
	"testing"

	"github.com/imsfs/imsfs/formats"
	"github.com/imsfs/imsfs/formats/formattest"
)

func TestConformance(t *testing.T) {
	var cases []formattest.Case
	add := func(name string, b build) {
		image, disk := b.image()
		cases = append(cases, formattest.Case{Name: name, Image: image, Disk: disk})
	}
	// One L2 table of 512 entries is about 2 MiB, one of two clusters about 4 MiB.
	add("small", build{size: 20*4096 + 512, data: []int64{3, 4, 5, 2, 20, 9}, zero: []int64{0, 6, 10}})
	add("several L2 tables", build{size: 9 << 20, data: []int64{511, 512, 1, 513, 2047, 2048}, zero: []int64{523, 600}})
	add("tables of several pages", build{size: 200 << 20, tableSize: 16, cluster: 8192, data: []int64{8191, 8192, 16383, 16384, 25000}, zero: []int64{0, 8193}})
	add("larger clusters", build{size: 1 << 20, cluster: 64 << 10, tableSize: 4, data: []int64{15, 0, 1, 2}})
	add("empty", build{size: 1 << 40, cluster: 64 << 10, tableSize: 4})
	add("backing", build{size: 1 << 20, data: []int64{7}, zero: []int64{8}, backing: "base.img"})
	formattest.Run(t, Driver{}, cases)
	for _, c := range cases {
		if got := problems(t, formattest.Bytes(c.Image)); len(got) > 0 {
			t.Errorf("%s: check reports %v", c.Name, got)
		}
	}
}

func TestInfo(t *testing.T) {
	image, _ := build{size: 1 << 20, backing: "dir/base", features: featureNeedCheck | featureBackingNoProbe}.image()
	image[24], image[32] = 5, 6 // unknown compatible and autoclear bits are no obstacle
	got := openSource(t, formattest.Bytes(image)).Info()
	if got.Size != 1<<20 || got.ClusterSize != 4096 || got.Allocated != formats.Unknown || got.ID != "" {
		t.Errorf("info %+v", got)
	}
	if fmt.Sprint(*got.Backing) != "{[dir/base] raw }" {
		t.Errorf("backing %+v", *got.Backing)
	}
	want := "[{table_size 1} {header_size 1} {features backing_file need_check backing_format_no_probe} {compat_features 0x5} {autoclear_features 0x6}]"
	if fmt.Sprint(got.Details) != want {
		t.Errorf("details %v, want %s", got.Details, want)
	}
	image, _ = build{size: 1 << 20, backing: "base"}.image()
	if got := openSource(t, formattest.Bytes(image)).Info().Backing; got == nil || got.Format != "" {
		t.Errorf("backing %+v, want one of no given format", got)
	}
}

// TestNeighboursAreReadAtOnce wants one read of the source for what lies together in the file.
func TestNeighboursAreReadAtOnce(t *testing.T) {
	image, disk := build{size: 8 * 4096, data: []int64{4, 5, 6, 7, 0, 1, 2}}.image()
	src := &formattest.Counting{Source: formattest.Bytes(image)}
	img := openSource(t, src)
	p := make([]byte, disk.Bytes)
	if err := img.ReadAt(t.Context(), p[:512], 0); err != nil { // and with it the tables
		t.Fatal(err)
	}
	before := src.Calls()
	if err := img.ReadAt(t.Context(), p, 0); err != nil {
		t.Fatal(err)
	}
	if n := src.Calls() - before; n != 2 {
		t.Errorf("%d reads, want 2", n)
	}
}

// TestLargestTables: with 64 MiB clusters and tables of 16 there are entries for more than 2^64 bytes.
func TestLargestTables(t *testing.T) {
	head, _ := build{size: formats.MaxDiskSize, cluster: 4096}.image()
	head = head[:4096]
	head[4], head[5], head[6], head[7] = 0, 0, 0, 4 // cluster_size
	head[8], head[40], head[41], head[43] = 16, 0, 0, 4
	src := formattest.Sparse{Bytes: 1<<30 + 64<<20, Parts: []formattest.Part{{Data: head}}}
	img := openSource(t, src)
	p := make([]byte, 512)
	if err := img.ReadAt(t.Context(), p, formats.MaxDiskSize-512); err != nil {
		t.Error(err)
	}
	e, err := img.Extent(t.Context(), 1, formats.MaxDiskSize-1)
	if err != nil || e.Len != formats.MaxDiskSize-1 {
		t.Errorf("%+v, %v", e, err)
	}
}
