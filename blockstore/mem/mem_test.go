package mem_test

import (
	"testing"

	"github.com/imsfs/imsfs/blockstore"
	"github.com/imsfs/imsfs/blockstore/mem"
	"github.com/imsfs/imsfs/blockstore/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Subject{
		Open:   func(testing.TB) blockstore.Store { return mem.New(0) },
		Damage: func(_ testing.TB, s blockstore.Store, id blockstore.ID) { s.(*mem.Store).Damage(id) },
	})
}
