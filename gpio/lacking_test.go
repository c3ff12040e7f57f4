//go:build linux

package gpio

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestLacking has chips that can't do some of what they are asked, of which the kernel's error does not tell which it was.
func TestLacking(t *testing.T) {
	t.Parallel()
	all := LineOptions{Bias: PullUp, Debounce: time.Second, Events: func(Event) {}, Gone: func() {}}
	debounced, watched := LineOptions{Debounce: time.Second}, LineOptions{Events: func(Event) {}}
	noDebounce := func(o LineOptions) bool { return o.Debounce == 0 }
	noEdges := func(o LineOptions) bool { return o.Events == nil && o.Gone == nil }
	noInterrupt := func(o LineOptions) bool { return noDebounce(o) && noEdges(o) }
	noBias := func(o LineOptions) bool { return o.Bias == BiasAsIs }
	nothing := func(LineOptions) bool { return false }
	for _, test := range []struct {
		name string
		o    LineOptions
		err  error
		can  func(LineOptions) bool
		want Feature
	}{
		{"driver refuses debounce", all, syscall.EOPNOTSUPP, noDebounce, FeatureDebounce},
		{"driver refuses debounce by the kernel's own number", all, syscall.Errno(524), noDebounce, FeatureDebounce},
		{"driver refuses edges", all, os.NewSyscallError("ioctl", syscall.EINVAL), noEdges, FeatureEdges},
		{"no interrupts: edges and debounce", all, syscall.ENXIO, noInterrupt, FeatureEdges},
		{"no interrupts: edges", watched, syscall.ENXIO, noInterrupt, FeatureEdges},
		{"no interrupts: debounce", debounced, syscall.ENXIO, noInterrupt, FeatureDebounce},
		{"kernel before 5.5", LineOptions{Bias: PullDown}, syscall.EINVAL, noBias, FeatureBias},
		{"some other reason", all, syscall.EINVAL, nothing, ""},
		{"held", all, syscall.EBUSY, noDebounce, ""},
		{"gone", all, syscall.ENODEV, noDebounce, ""},
		{"nothing was asked for", LineOptions{}, syscall.EINVAL, noDebounce, ""},
		{"output", LineOptions{Output: true, Bias: PullUp}, syscall.EINVAL, noBias, ""},
		{"as it is", LineOptions{AsIs: true}, syscall.EINVAL, noBias, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got, reason := lacking(test.o, test.err, func(o LineOptions) error {
				if !test.can(o) {
					return test.err
				}
				return nil
			})
			if got != test.want || (reason == "") != (test.want == "") || !strings.Contains(reason, string(test.want)) {
				t.Errorf("lacking = %q, %q, want %q", got, reason, test.want)
			}
		})
	}
}

// TestGoneError wants what the kernel says of a chip that is gone in both words, once.
func TestGoneError(t *testing.T) {
	t.Parallel()
	err := Gone(Gone(os.NewSyscallError("ioctl", syscall.ENODEV)))
	if !errors.Is(err, ErrGone) || !errors.Is(err, syscall.ENODEV) || strings.Count(err.Error(), ErrGone.Error()) != 1 {
		t.Errorf("Gone(ENODEV) = %q, want both reasons once", err)
	}
	for _, err := range []error{nil, syscall.EBUSY, ErrClosed} {
		if got := Gone(err); got != err {
			t.Errorf("Gone(%v) = %v, want it as it is", err, got)
		}
	}
}
