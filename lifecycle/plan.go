package lifecycle

import (
	"log/slog"

	"github.com/imsfs/imsfs/lifecycle/catalog"
	"github.com/imsfs/imsfs/lifecycle/command"
)

// verb is a row of a table, plan what its Prepare returns.
type (
	verb[T any] = command.Verb[T, *catalog.Tx]
	plan        = command.Plan[*catalog.Tx]
)

// journal writes every command to the log.
type journal struct{ log *slog.Logger }

// Note writes one entry.
func (j journal) Note(e command.Entry) {
	attrs := []any{slog.String("target", e.Target), slog.String("verb", e.Verb), slog.Uint64("uid", uint64(e.By.UID)), slog.Uint64("pid", uint64(e.By.PID))}
	if e.Err != nil {
		attrs = append(attrs, slog.String("error", command.Sentence(e.Err)))
	}
	j.log.Debug("command", attrs...)
}
