package test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// layer is an image of a chain that qemu-img and qemu-io make.
type layer struct {
	format string   // the program's name
	create string   // options of qemu-img create
	size   string   // "" for that of the backing file
	writes []string // commands of qemu-io
}

// The writes of a chain's layers: ranges of their own, some across the borders of clusters.
var (
	below = []string{"write -P 1 0 300k", "write -P 2 1M 70k", "write -P 3 2500k 512", "write -P 4 4M 128k"}
	above = []string{"write -P 5 128k 64k", "write -P 6 1030k 5k", "write -P 7 3M 1", "write -P 8 5M 256k"}
	zeros = []string{"write -z 192k 64k", "write -z 4160k 64k"}
	third = []string{"write -P 9 0 512", "write -P 10 4100k 1000", "write -P 11 5242k 3k"}
)

// chains are built from the base up. Each layer of a chain is also read as the top.
var chains = []struct {
	name    string
	layers  []layer
	flags   []string // the program's, for facts that the images do not record
	compare mapping
}{
	{"qcow2 on raw", []layer{{format: "raw", size: "6M", writes: below}, {format: "qcow2", writes: above}}, nil, mapsAll},
	{"qcow2 on qcow2 on raw", []layer{
		{format: "raw", size: "6M", writes: below},
		{format: "qcow2", writes: slices.Concat(above, zeros)},
		{format: "qcow2", create: "-o cluster_size=4k", writes: third},
	}, nil, mapsAll},
	{"qcow2 on a compressed qcow2", []layer{
		{format: "qcow2", create: "-o cluster_size=256k", size: "6M", writes: []string{"write -c -P 1 0 256k", "write -c -P 2 1M 256k", "write -c -P 4 4M 256k"}},
		{format: "qcow2", create: "-o cluster_size=4k", writes: slices.Concat(above, third)},
	}, nil, mapsAll},
	{"qcow2 on a shorter qcow2", []layer{
		{format: "qcow2", size: "2501k", writes: below[:3]},
		{format: "qcow2", size: "6M", writes: above},
		{format: "qcow2", size: "7M", writes: third},
	}, nil, mapsAll},
	{"qcow2 on a longer qcow2", []layer{
		{format: "qcow2", size: "6M", writes: below},
		{format: "qcow2", size: "2501k", writes: above[:2]},
	}, nil, mapsAll},
	{"extended L2 on qcow2", []layer{
		{format: "qcow2", size: "6M", writes: below},
		{format: "qcow2", create: "-o extended_l2=on,cluster_size=128k", writes: slices.Concat(above, []string{"write -z 8k 4k"})},
	}, nil, mapsAll},
	{"qcow2 on vmdk", []layer{{format: "vmdk", size: "6M", writes: below}, {format: "qcow2", writes: slices.Concat(above, zeros)}}, nil, mapsAll},
	{"qcow2 on vhd", []layer{{format: "vhd", size: "6M", writes: below}, {format: "qcow2", size: "7M", writes: above}}, nil, mapsBlocks},
	{"qcow2 on vhdx", []layer{{format: "vhdx", size: "6M", writes: below}, {format: "qcow2", writes: above}}, nil, mapsNothing},
	{"qcow2 on vdi", []layer{{format: "vdi", size: "6M", writes: below}, {format: "qcow2", writes: above}}, nil, mapsPresence},
	{"qcow2 on qed on qcow", []layer{
		{format: "qcow", size: "6M", writes: below},
		{format: "qed", writes: above},
		{format: "qcow2", writes: third},
	}, nil, mapsAll},
	{"qed on raw", []layer{{format: "raw", size: "6M", writes: below}, {format: "qed", writes: slices.Concat(above, zeros)}}, nil, mapsAll},
	{"qed on qed on vmdk", []layer{
		{format: "vmdk", size: "6M", writes: below},
		{format: "qed", create: "-o cluster_size=4k", writes: above},
		{format: "qed", writes: third},
	}, nil, mapsAll},
	{"vmdk on vmdk", []layer{{format: "vmdk", size: "6M", writes: below}, {format: "vmdk", writes: above}}, nil, mapsAll},
	{"vmdk on vmdk on vmdk", []layer{
		{format: "vmdk", size: "6M", writes: below},
		{format: "vmdk", writes: above},
		{format: "vmdk", writes: third},
	}, nil, mapsAll},
	{"a compressed qcow", []layer{
		{format: "qcow", size: "6M", writes: []string{"write -c -P 1 0 4k", "write -c -P 2 4k 4k", "write -c -P 3 1M 4k", "write -P 4 1028k 8k", "write -c -P 5 6140k 4k"}},
	}, nil, mapsAll},
	{"qcow on qcow2", []layer{{format: "qcow2", size: "6M", writes: below}, {format: "qcow", writes: above}}, nil, mapsAll},
	{"qcow on raw", []layer{{format: "raw", size: "6M", writes: below}, {format: "qcow", writes: above}}, []string{"--backing-format", "raw"}, mapsAll},
}

// TestChainsOfQemuImg: the program reads an image with its backing files as QEMU does.
func TestChainsOfQemuImg(t *testing.T) {
	for _, chain := range chains {
		t.Run(chain.name, func(t *testing.T) {
			for _, l := range chain.layers {
				formatNamed(t, l.format).need(t)
			}
			t.Parallel()
			images := buildChain(t, t.TempDir(), chain.layers)
			for i, image := range images {
				f := formatNamed(t, chain.layers[i].format)
				f.compares = max(chain.compare, f.compares)
				var flags []string
				if i > 0 {
					flags = chain.flags
				}
				f.sameAsQemu(t, image, flags...)
			}
		})
	}
}

func formatNamed(t *testing.T, name string) imageFormat {
	t.Helper()
	i := slices.IndexFunc(imageFormats, func(f imageFormat) bool { return f.name == name })
	if i < 0 {
		t.Fatalf("the table has no format %s", name)
	}
	return imageFormats[i]
}

// buildChain makes the images of a chain in dir, and returns their paths from the base up.
func buildChain(t *testing.T, dir string, layers []layer) []string {
	t.Helper()
	var images []string
	for i, l := range layers {
		f := formatNamed(t, l.format)
		name := fmt.Sprintf("layer%d.%s", i, l.format)
		args := append([]string{"create", "-q", "-f", f.qemu}, strings.Fields(l.create)...)
		if i > 0 {
			args = append(args, "-b", filepath.Base(images[i-1]), "-F", formatNamed(t, layers[i-1].format).qemu)
		}
		args = append(args, filepath.Join(dir, name))
		if l.size != "" {
			args = append(args, l.size)
		}
		mustRun(t, "qemu-img", args...)
		images = append(images, filepath.Join(dir, name))
		args = []string{"-f", f.qemu}
		for _, w := range l.writes {
			args = append(args, "-c", w)
		}
		if r := run(t, "qemu-io", append(args, images[i])...); r.code != 0 || strings.Contains(r.stdout, "failed") {
			t.Fatalf("qemu-io: %+v", r)
		}
	}
	return images
}

// TestOpenOfAChain: a mounted disk has the bytes of all layers, also with compressed clusters of
// different sizes.
func TestOpenOfAChain(t *testing.T) {
	formatNamed(t, "qcow2").need(t)
	p := newPlace(t)
	images := buildChain(t, p.dir, []layer{
		{format: "raw", size: "3M", writes: below[:2]},
		{format: "qcow2", create: "-o cluster_size=256k", size: "6M", writes: []string{"write -c -P 2 1M 256k", "write -c -P 4 4M 256k"}},
		{format: "qcow2", create: "-o cluster_size=4k", writes: slices.Concat(above, []string{"write -c -P 12 2M 4k", "write -z 4200k 8k"})},
	})
	top, flat := images[2], p.file("flat.raw")
	mustRun(t, "qemu-img", "convert", "-O", "raw", top, flat)
	p.openImage(t, top)
	mustRun(t, "cmp", flat, p.path("disk"))
	mustRun(t, "cp", "--sparse=always", p.path("disk"), p.file("copy.raw"))
	mustRun(t, "cmp", flat, p.file("copy.raw"))
}

// TestBackingImageThatChanged: a VMDK records its parent's content ID, so a changed parent is
// refused.
func TestBackingImageThatChanged(t *testing.T) {
	formatNamed(t, "vmdk").need(t)
	dir := t.TempDir()
	images := buildChain(t, dir, []layer{{format: "vmdk", size: "6M", writes: below}, {format: "vmdk", writes: above}})
	must(t, os.Remove(images[0]))
	buildChain(t, dir, []layer{{format: "vmdk", size: "6M", writes: above}})
	imsfs(t, "map", images[1]).refused(t, "layer 1", "changed")
}
