package disk

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Cost is what reading has cost the image: requests to it and the bytes that they returned.
type Cost struct{ Requests, Bytes int64 }

// counter adds up a cost on many goroutines.
type counter struct{ requests, bytes atomic.Int64 }

func (c *counter) add(n int64) {
	c.requests.Add(1)
	c.bytes.Add(n)
}

func (c *counter) cost() Cost { return Cost{c.requests.Load(), c.bytes.Load()} }

// Budget bounds and counts what one operation may read, wherever in a layout it does: like a
// deadline it belongs to the operation and travels in its context. Reads answered by pages are
// free.
type Budget struct {
	limit Cost
	spent counter
}

// NewBudget returns a budget. A limit of 0 is none.
func NewBudget(limit Cost) *Budget { return &Budget{limit: limit} }

// Spent returns the requests and bytes counted until now.
func (b *Budget) Spent() Cost { return b.spent.cost() }

// budgetKey is the key of the context's Budget.
type budgetKey struct{}

// WithBudget returns a context whose reads b counts and bounds. A budget already in ctx goes on
// counting, and bounds as well.
func WithBudget(ctx context.Context, b *Budget) context.Context {
	outer, _ := ctx.Value(budgetKey{}).([]*Budget)
	return context.WithValue(ctx, budgetKey{}, append(outer[:len(outer):len(outer)], b))
}

// spend counts a request of n bytes at all budgets of ctx, or refuses it.
func spend(ctx context.Context, n int64) error {
	budgets, _ := ctx.Value(budgetKey{}).([]*Budget)
	for _, b := range budgets {
		spent := b.Spent()
		if b.limit.Requests > 0 && spent.Requests >= b.limit.Requests {
			return fmt.Errorf("read: %d requests, the limit: %w", spent.Requests, ErrBudget)
		}
		if b.limit.Bytes > 0 && spent.Bytes+n > b.limit.Bytes {
			return fmt.Errorf("read: %d of %d bytes read, %d more needed: %w", spent.Bytes, b.limit.Bytes, n, ErrBudget)
		}
	}
	for _, b := range budgets {
		b.spent.add(n)
	}
	return nil
}
