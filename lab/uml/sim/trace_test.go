//go:build linux

package sim_test

import (
	"strings"
	"testing"
	"time"

	"rollcall/lab/uml/sim"
)

func TestParseSet(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		line string
		want sim.Set
		err  string
	}{
		{"          agentd-95      [000] .....    12.345678: gpio_value: 505 set 1", sim.Set{Line: 505, High: true, At: 12345678 * time.Microsecond}, ""},
		{" a name: gp-9 [000] ..... 1.000001: gpio_value: 505 set 0", sim.Set{Line: 505, At: 1000001 * time.Microsecond}, ""},
		{"CPU:0 [LOST 7 EVENTS]", sim.Set{}, "LOST 7"},
		{" a-9 [000] ..... 1.000001: gpio_value: 505 get 0", sim.Set{}, "not a set"},
		{" a-9 [000] ..... 1.000001: gpio_value: x set 0", sim.Set{}, "not a set"},
		{": gpio_value: 5 set 0", sim.Set{}, "not a set"},
		{" a-9 [000] ..... now: gpio_value: 5 set 0", sim.Set{}, "not a set"},
		{"", sim.Set{}, "not a set"},
	} {
		got, err := sim.ParseSet(test.line)
		if got != test.want || (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
			t.Errorf("ParseSet(%q) = %v, %v, want %v, %q", test.line, got, err, test.want, test.err)
		}
	}
}
