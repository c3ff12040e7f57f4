//go:build linux

package gpio

import (
	"errors"
	"slices"
	"syscall"
)

// unsupported is what kernels and their drivers return for what they can't do. ENOTSUPP is the kernel's own, which programs
// should never see but do; ENXIO is for a line without an interrupt; EINVAL is for a flag that the kernel does not know.
var unsupported = [...]syscall.Errno{syscall.EOPNOTSUPP, syscall.ENXIO, syscall.EINVAL, syscall.ENOSYS, enotsupp}

// enotsupp is ENOTSUPP of the kernel's include/linux/errno.h.
const enotsupp = syscall.Errno(524)

// lacking finds out which of the options, which were refused with err, this chip or kernel can't fulfil: by asking without it. It
// is for inputs, which are what they were asked to be either way; an output that failed is not tried again.
func lacking(o LineOptions, err error, try func(LineOptions) error) (Feature, string) {
	if o.Output || o.AsIs || !slices.ContainsFunc(unsupported[:], func(e syscall.Errno) bool { return errors.Is(err, e) }) {
		return "", ""
	}
	for _, attempt := range []struct {
		missing               Feature
		debounce, edges, bias bool // which are left out
	}{
		{FeatureDebounce, true, false, false},
		{FeatureEdges, false, true, false},
		{FeatureEdges, true, true, false}, // both of them need interrupts
		{FeatureBias, false, false, true},
	} {
		less, wished := o, true
		if attempt.debounce {
			wished = wished && o.Debounce > 0
			less.Debounce = 0
		}
		if attempt.edges {
			wished = wished && o.Events != nil
			less.Events, less.Gone = nil, nil
		}
		if attempt.bias {
			wished = wished && o.Bias != BiasAsIs
			less.Bias = BiasAsIs
		}
		if wished && try(less) == nil {
			return attempt.missing, "this chip or kernel has no " + string(attempt.missing) + " (" + err.Error() + ")"
		}
	}
	return "", ""
}
