package lazyload

import "errors"

// errNoStore is what loading into the store is of a disk that is only read through.
var errNoStore = errors.New("it is read through and not kept")
