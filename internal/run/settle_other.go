//go:build !linux

package run

import "runtime/debug"

// Settle gives back the memory that only the start has needed.
func Settle() { debug.FreeOSMemory() }
