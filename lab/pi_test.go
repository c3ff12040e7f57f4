package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// setups are what the virtual Pis are set up to by another host.
var setups = map[string]string{
	"pi2": "chip: pinctrl-bcm2835\noutputs:\n  pump: {pin: GPIO25}\n  lamp: {pin: 24, active_low: true}\ninputs:\n  door: {pin: 22}\n",
	"pi3": "outputs: {pump: {pin: pin22, initial: on}}\ninputs: {door: {pin: GPIO17, active_low: true}}\n",
}

// TestVirtualPis has two virtual Pis, each a kernel with a header of its own, beside a plain host from which everything is done:
// found, set up, switched and read. What their lines then are is seen from outside of the programs. One loses its power.
func TestVirtualPis(t *testing.T) {
	Need(t, "mosquitto_sub", "stdbuf")
	l := NewLAN(t, 1)
	c := HostConfig{Listen: "0.0.0.0:1883", Agents: "  gpio: {}\n"}
	pis := map[string]*PiHost{"pi2": l.BootPi(2, c), "pi3": l.BootPi(3, c)}
	found := func() []string { return sweep(t, l, 1, 0).names() }
	eventually(t, []string{"pi2 10.77.0.2: gpio online", "pi3 10.77.0.3: gpio online"}, found)

	dir := t.TempDir()
	for name, text := range setups {
		file := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		run(t, l, 1, "udpsrv", "setup", name+"/gpio", "-f", file)
	}
	level := func(pi string, line int, want bool) {
		t.Helper()
		if got := pis[pi].Level(line); got != want {
			t.Errorf("line %d of %s is %t, want %t", line, pi, got, want)
		}
	}
	level("pi2", 25, false)
	level("pi2", 24, true) // active-low
	level("pi3", 25, true) // initial: on; pin22 is GPIO25
	changes := pis["pi2"].Watch(25)
	for _, set := range []struct {
		point, value string
		pi           string
		line         int
		want         bool
	}{
		{"pi2/gpio/output/pump", "ON", "pi2", 25, true},
		{"pi2/gpio/output/lamp", "ON", "pi2", 24, false},
		{"pi3/gpio/output/pump", "OFF", "pi3", 25, false},
		{"pi2/gpio/output/pump", "TOGGLE", "pi2", 25, false},
		{"pi2/gpio/output/pump", "ON", "pi2", 25, true},
	} {
		run(t, l, 1, "udpsrv", "set", set.point, set.value)
		level(set.pi, set.line, set.want)
	}

	for name, line := range map[string]int{"pi2": 22, "pi3": 17} {
		states := l.Start(1, false, "stdbuf", "-oL", "mosquitto_sub", "-d", "-h", l.Addr(int(name[2]-'0')), "-v", "-t", "/"+name+"/gpio/input/door")
		inverted := name == "pi3"
		state := func(high bool) string {
			return "/" + name + "/gpio/input/door " + map[bool]string{false: "OFF", true: "ON"}[high != inverted]
		}
		states.WaitLine(state(false), patience)
		pis[name].Pull(line, true)
		states.WaitLine(state(true), patience)
		states.Stop()
	}

	// The power of one goes. It has no time to say good-bye.
	pis["pi2"].PowerCut()
	var heard []bool
	for c := range changes { // ends with the power
		heard = append(heard, c.High)
	}
	if want := []bool{true, false, true}; !slices.Equal(heard, want) {
		t.Errorf("line 25 of pi2 became %v, want %v: one change for each set, and no glitch", heard, want)
	}
	eventually(t, []string{"pi3 10.77.0.3: gpio online"}, found)
	pis["pi2"].Boot()
	level("pi2", 25, false)
	level("pi2", 24, false) // nobody drives it yet
	pis["pi2"].StartHost()
	eventually(t, []string{"pi2 10.77.0.2: gpio online", "pi3 10.77.0.3: gpio online"}, found)
	level("pi2", 24, true)
	run(t, l, 1, "udpsrv", "set", "pi2/gpio/output/pump", "ON")
	level("pi2", 25, true)
	level("pi3", 25, false)
	for _, key := range []string{"pump:", "lamp:", "door:", "active_low: true"} {
		if got := run(t, l, 1, "udpsrv", "setup", "pi2/gpio"); !strings.Contains(got, key) {
			t.Errorf("after the power cut the set-up of pi2 is %q, want %s in it", got, key)
		}
	}
	for name, pi := range pis {
		if status := pi.Agentd.Stop(); status != 0 {
			t.Errorf("agentd on %s: exit status %d, want 0\n%s", name, status, pi.Agentd.All.String())
		}
	}
}
