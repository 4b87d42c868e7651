package catalog

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/lazyload/chain"
	"github.com/imsfs/imsfs/lazyload/source"
)

// fates is the table of fate.go, field by field, said a second time: what of an image's record is
// in a note, in the base of a volume, and in the image that the volume is committed to.
var fates = map[string]struct{ note, base, commit bool }{
	"ID":                {base: true},
	"Name":              {note: true, base: true},
	"State":             {},
	"Registered":        {note: true, base: true},
	"Error":             {},
	"Source.Path":       {true, true, true},
	"Source.Format":     {true, true, true},
	"Source.Snapshot":   {true, true, true},
	"Source.Backing":    {true, true, true},
	"Source.Identity":   {true, true, true},
	"Source.Beside":     {true, true, true},
	"Source.SourceSize": {true, true, true},
	"Disk.Size":         {base: true}, // a note's disk has its own, a commit the volume's
	"Disk.Allocated":    {true, true, true},
	"Disk.SectorSize":   {true, true, true},
	"Disk.ClusterSize":  {true, true, true},
	"Disk.Compression":  {true, true, true},
	"Disk.Indexed":      {true, true, true},
	"Disk.Map":          {true, true, true},
	"Keeping.Load":      {note: true, base: true}, // a commit is lazy
	"Keeping.Hydrating": {},
	"Keeping.Kept":      {base: true},
	"Keeping.Committed": {note: true, base: true},
	"About.Meta":        {note: true},
	"About.Tags":        {note: true},
}

// eachField calls fn with every field of a record; those of a section have its name before theirs.
func eachField(v reflect.Value, prefix string, fn func(name string, v reflect.Value)) {
	for n := range v.NumField() {
		f := v.Type().Field(n)
		if f.Anonymous {
			eachField(v.Field(n), f.Name+".", fn)
			continue
		}
		fn(prefix+f.Name, v.Field(n))
	}
}

// full is an image whose every field has a value that is its own.
func full(t *testing.T) Image {
	t.Helper()
	var img Image
	n := int64(1)
	eachField(reflect.ValueOf(&img).Elem(), "", func(name string, v reflect.Value) {
		n++
		switch v.Interface().(type) {
		case time.Time:
			v.Set(reflect.ValueOf(time.Unix(n, 0).UTC()))
		case map[string]string:
			v.Set(reflect.ValueOf(map[string]string{"key": name}))
		case []chain.File:
			v.Set(reflect.ValueOf([]chain.File{{Path: "/" + name}}))
		default:
			switch v.Kind() {
			case reflect.String:
				v.SetString(name)
			case reflect.Int64:
				v.SetInt(n)
			case reflect.Uint64:
				v.SetUint(uint64(n))
			case reflect.Bool:
				v.SetBool(true)
			case reflect.Struct: // an identity
				v.Set(reflect.ValueOf(source.Identity{Size: 7}))
			default:
				t.Fatalf("the test has no value for %s, a %s", name, v.Type())
			}
		}
	})
	return img
}

// TestFates fails for a field of an image's record whose fate is not stated, and for one that has
// another.
func TestFates(t *testing.T) {
	img := full(t)
	note, dropped, err := img.Note(blockstore.MaxNote)
	if err != nil || len(dropped) != 0 {
		t.Fatal(dropped, err)
	}
	var noted Image
	if err := json.Unmarshal([]byte(note), &noted); err != nil {
		t.Fatal(err)
	}
	base := img.Base()
	made := Volume{ID: 99, Name: "volume", Size: 4096, Base: &base}.Committed()
	results := map[string]Image{"note": noted, "base": base.Image(), "commit": made}
	fields := 0
	eachField(reflect.ValueOf(img), "", func(name string, v reflect.Value) {
		fields++
		fate, ok := fates[name]
		if !ok {
			t.Errorf("%s has no fate: say in fate.go and here what becomes of it", name)
			return
		}
		for what, want := range map[string]bool{"note": fate.note, "base": fate.base, "commit": fate.commit} {
			eachField(reflect.ValueOf(results[what]), "", func(other string, got reflect.Value) {
				if other == name && reflect.DeepEqual(got.Interface(), v.Interface()) != want && fmt.Sprint(name, what) != "Keeping.Keptcommit" && fmt.Sprint(name, what) != "Keeping.Committedcommit" {
					t.Errorf("%s in a %s: %v, want it to be the image's: %v", name, what, got, want)
				}
			})
		}
	})
	if fields != len(fates) {
		t.Errorf("the table has %d fields, the record %d", len(fates), fields)
	}
	if !made.Kept || !made.Committed || made.Load != Lazy || made.Size != 4096 || made.State != Active {
		t.Errorf("a commit is %+v", made)
	}
}

func TestNoteThatDoesNotFit(t *testing.T) {
	img := full(t)
	img.Meta = map[string]string{"os": "linux", "description": strings.Repeat("<", 1024), "os_version": strings.Repeat("é", 512)}
	t.Run("keeps two long attributes that JSON could write six times as long", func(t *testing.T) {
		note, dropped, err := img.Note(blockstore.MaxNote)
		if err != nil || len(dropped) != 0 || !strings.Contains(note, "linux") {
			t.Errorf("dropped %q, %v", dropped, err)
		}
	})
	t.Run("drops the description first and says so", func(t *testing.T) {
		note, dropped, err := img.Note(2500)
		if err != nil || strings.Join(dropped, " ") != "description" || !strings.Contains(note, "os_version") {
			t.Errorf("dropped %q, %v", dropped, err)
		}
	})
	t.Run("drops a source whose path is very long, and keeps the attributes", func(t *testing.T) {
		long := img
		long.Path = "/" + strings.Repeat("p", 4090)
		long.Meta = map[string]string{"os": "linux"}
		note, dropped, err := long.Note(blockstore.MaxNote)
		if err != nil || !strings.Contains(note, "linux") || dropped[len(dropped)-1] != "the source" {
			t.Errorf("dropped %q, %v", dropped, err)
		}
	})
	t.Run("is an error when nothing is left to drop", func(t *testing.T) {
		if note, _, err := img.Note(10); err == nil || note != "" {
			t.Errorf("note %q, %v", note, err)
		}
	})
}
