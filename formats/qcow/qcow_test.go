package qcow

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/imsfs/imsfs/formats/formattest"
)

// variants are images of all kinds of clusters, in all corners of what sizes there can be.
func variants(t testing.TB) map[string]*builder {
	all := map[string]*builder{}
	for _, bits := range [][2]uint8{{9, 6}, {9, 13}, {12, 9}, {16, 6}} {
		cluster := int64(1) << bits[0]
		b := build(t, bits[0], bits[1], 200*cluster+512)
		b.data(0, pattern(0, cluster))
		b.data(1, pattern(1, cluster))
		b.compressed(2, pattern(2, cluster))
		b.compressed(3, pattern(3, cluster))
		b.data(100, pattern(100, cluster))
		b.compressed(200, pattern(200, cluster))
		all[fmt.Sprintf("%d and %d bits", bits[0], bits[1])] = b
	}
	return all
}

func TestConformance(t *testing.T) {
	var cases []formattest.Case
	for name, b := range variants(t) {
		cases = append(cases, formattest.Case{Name: name, Image: b.image, Disk: b.disk})
	}
	formattest.Run(t, New(), cases)
}

func TestBuiltImagesAreQEMUsToo(t *testing.T) {
	for name, b := range variants(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk.qcow")
			if err := os.WriteFile(path, b.image, 0o600); err != nil {
				t.Fatal(err)
			}
			sameAsQEMU(t, path)
		})
	}
}
