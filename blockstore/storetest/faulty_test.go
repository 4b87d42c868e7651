package storetest_test

import (
	"errors"
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

func TestFaulty(t *testing.T) {
	errPlanned := errors.New("planned")
	f := storetest.NewFaulty(t, mem.New(0),
		storetest.Fault{Op: storetest.OpSave, Nth: 2, Err: errPlanned},
		storetest.Fault{Op: storetest.OpRead, Nth: 1, Err: errPlanned})
	if err := f.Create(1, blockstore.BlockSize, ""); err != nil {
		t.Fatal(err)
	}
	for call, want := range []error{nil, errPlanned, nil} {
		if err := f.Save(t.Context(), 1, 0, storetest.Block(1)); err != want {
			t.Errorf("call %d of Save: %v, want %v", call+1, err, want)
		}
	}
	if missed := f.Missed(); len(missed) != 1 || missed[0].Op != storetest.OpRead {
		t.Errorf("missed %v, want the read", missed)
	}
	if err := f.Read(t.Context(), blockstore.IDOf(storetest.Block(1)), make([]byte, 1), 0); err != errPlanned {
		t.Errorf("Read: %v", err)
	}
}
