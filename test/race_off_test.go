//go:build !race

package test

// raceEnabled: the program is built with the race detector when its tests are.
const raceEnabled = false
