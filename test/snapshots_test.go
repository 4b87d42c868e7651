package test

import (
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"
)

// TestSnapshotsOfQemuImg: an internal snapshot is listed, and read by its name and by its ID, with
// its backing file.
func TestSnapshotsOfQemuImg(t *testing.T) {
	formatNamed(t, "qcow2").need(t)
	dir := t.TempDir()
	top := buildChain(t, dir, []layer{{format: "raw", size: "6M", writes: below}, {format: "qcow2", writes: above}})[1]
	mustRun(t, "qemu-img", "snapshot", "-c", "first", top)
	mustRun(t, "qemu-io", "-c", "write -P 20 0 64k", "-c", "write -z 3M 64k", top)
	mustRun(t, "qemu-img", "snapshot", "-c", "second", top)
	mustRun(t, "qemu-io", "-c", "write -P 21 128k 64k", top)

	for name, id := range map[string]string{"first": "1", "second": "2"} {
		theirs, ours, byID := filepath.Join(dir, name+".theirs"), filepath.Join(dir, name), filepath.Join(dir, id)
		mustRun(t, "qemu-img", "convert", "-l", "snapshot.name="+name, "-O", "raw", top, theirs)
		mustRun(t, program, "convert", "--snapshot", name, "-O", "raw", top, ours)
		mustRun(t, program, "convert", "--snapshot", id, "-O", "raw", top, byID)
		mustRun(t, "cmp", ours, theirs)
		mustRun(t, "cmp", byID, theirs)
		mustRun(t, program, "compare", "--snapshot", name, "-F", "raw", top, theirs)
	}
	imsfs(t, "map", "--snapshot", "third", top).refused(t, `"third"`)

	type facts struct {
		Snapshots []struct {
			ID, Name string
			VMState  int64 `json:"vm-state-size"`
			Date     int64 `json:"date-sec"`
		}
	}
	var ours, theirs facts
	for text, into := range map[string]*facts{
		mustRun(t, program, "info", "--json", top):           &ours,
		mustRun(t, "qemu-img", "info", "--output=json", top): &theirs,
	} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	if len(ours.Snapshots) != 2 || !reflect.DeepEqual(ours, theirs) {
		t.Errorf("snapshots %+v, qemu-img says %+v", ours, theirs)
	}
}
