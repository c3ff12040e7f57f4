//go:build !unix

package pwm

import "os"

// lock does nothing: where there is no sysfs there is nothing to lock.
func lock(*os.File) error { return nil }

// locked is a file that this program has open.
type locked struct{ *os.File }
