package janitoo

import (
	"maps"
	"testing"
)

// What a controller names is nobody else's, whether the host's own controller names it or another.
func TestOthers(t *testing.T) {
	t.Parallel()
	o := Options{Controller: Controller{Hadd: "0121", Services: []string{"hostsensor"}}, Controllers: map[string]Controller{"fake": {Hadd: "1118"}, "nut": {Hadd: "0120", Services: []string{"ups"}}}}
	for name, want := range map[string]map[string]bool{"": {"ups": true}, "fake": {"hostsensor": true, "ups": true}, "nut": {"hostsensor": true}} {
		if got := others(o, name); !maps.Equal(got, want) {
			t.Errorf("others(%q) = %v, want %v", name, got, want)
		}
	}
}
