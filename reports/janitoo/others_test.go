package janitoo

import (
	"maps"
	"testing"
	"time"

	"rollcall/reports"
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

// A controller all of whose nodes are Janitoo's own components, which need no service, has no service; nor has one that says so.
func TestNodesAlone(t *testing.T) {
	t.Parallel()
	o := Options{Controller: Controller{Hadd: "0121"}, Controllers: map[string]Controller{
		"fake": {Hadd: "1118", Nodes: map[string]Node{"component1": {Of: "fake.component"}}},
		"none": {Hadd: "1119", Services: []string{}, Nodes: map[string]Node{"ups1": {}}},
		"rest": {Hadd: "1120", Nodes: map[string]Node{"ups1": {}}},
	}}
	for name, want := range map[string]bool{"": true, "fake": false, "none": false, "rest": true} {
		b, err := newController(o.all()[name], reports.Host{Name: "pi1"}, time.Now, others(o, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := b.mine("ups1"); got != want {
			t.Errorf("controller %q has ups1: %v, want %v", name, got, want)
		}
	}
}
