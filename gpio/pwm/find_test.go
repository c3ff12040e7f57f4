package pwm

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	t.Parallel()
	type place struct{ chip, channel int }
	legacy := func(pins, functions []uint32) pinNode { return pinNode{pins: pins, functions: functions} }
	generic := func(pins, function string) pinNode { return pinNode{names: pins, function: function} }
	for _, tc := range []struct {
		name  string
		label string
		root  string
		want  map[int]place // all that are found of 0 to 63
	}{
		{"Pi 4, pwm-2chan", bcm2711, pi4(t, []uint32{18, 19}, []uint32{2, 2}), map[int]place{18: {0, 0}, 19: {0, 1}}},
		{"Pi Zero, pwm-2chan on 12 and 13", "pinctrl-bcm2835", pi4(t, []uint32{12, 13}, []uint32{4, 4}), map[int]place{12: {0, 0}, 13: {0, 1}}},
		{"Pi 4, pwm", bcm2711, pi4(t, []uint32{18}, []uint32{2}), map[int]place{18: {0, 0}}},
		{"Pi 4, one function for both", bcm2711, pi4(t, []uint32{12, 13}, []uint32{4}), map[int]place{12: {0, 0}, 13: {0, 1}}},
		{"Pi 4, a function that is not PWM", bcm2711, pi4(t, []uint32{18, 19}, []uint32{4, 2}), map[int]place{19: {0, 1}}},
		{"Pi 4, pins without functions", bcm2711, pi4(t, []uint32{18, 19}, nil), nil},
		{"Pi 4, functions that do not match", bcm2711, pi4(t, []uint32{18, 19, 12}, []uint32{2, 2}), nil},
		{"Pi 5, kernel 6.6", rp1, pi5(t, "pwmchip2", "pwmchip6", legacy([]uint32{18, 19}, []uint32{2, 2})), map[int]place{18: {2, 2}, 19: {2, 3}}},
		{"Pi 5, kernel 6.12", rp1, pi5(t, "pwmchip0", "pwmchip1", legacy([]uint32{12, 13}, []uint32{4, 4})), map[int]place{12: {0, 0}, 13: {0, 1}}},
		{"Pi 5, fan first", rp1, pi5(t, "pwmchip1", "pwmchip0", generic("gpio14\x00gpio15\x00", "pwm0\x00")), map[int]place{14: {1, 2}, 15: {1, 3}}},
		{"Pi 5, alt3", rp1, pi5(t, "pwmchip0", "pwmchip1", generic("gpio18\x00gpio12\x00", "alt3\x00")), map[int]place{18: {0, 2}}},
		{"Pi 5, 14 by a function of the BCM", rp1, pi5(t, "pwmchip0", "pwmchip1", legacy([]uint32{14}, []uint32{4})), nil},
		{"Pi 5, lines of another function", rp1, pi5(t, "pwmchip0", "pwmchip1", generic("gpio12\x00gpio18\x00", "spi1\x00")), nil},
		{"labels crossed", rp1, pi4(t, []uint32{18, 19}, []uint32{2, 2}), nil},
		{"labels crossed the other way", bcm2711, pi5(t, "pwmchip0", "pwmchip1", legacy([]uint32{18, 19}, []uint32{2, 2})), nil},
		{"another chip", "sim", pi4(t, []uint32{18, 19}, []uint32{2, 2}), nil},
		{"nothing there", bcm2711, t.TempDir(), nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			const lines = 64
			for offset := range lines {
				want, wanted := tc.want[offset]
				chip, channel, ok := Find(tc.root, tc.label, offset)
				if ok != wanted || (place{chip, channel}) != want {
					t.Errorf("Find(%s, %d) = %d, %d, %v, want %v, %v", tc.label, offset, chip, channel, ok, want, wanted)
				}
			}
		})
	}
}

// TestLocate: what the reason is, and what to do.
func TestLocate(t *testing.T) {
	t.Parallel()
	const restart = " into /boot/firmware/config.txt (before Debian 12: /boot/config.txt) and restart"
	for _, tc := range []struct {
		name   string
		root   string
		label  string
		offset int
		want   string
	}{
		{"never", t.TempDir(), bcm2711, 17, "line 17 of pinctrl-bcm2711: no hardware PWM: only the lines 12, 13, 18, 19 of this chip can have it"},
		{"never on RP1", t.TempDir(), rp1, 16, "line 16 of pinctrl-rp1: no hardware PWM: only the lines 12, 13, 14, 15, 18, 19 of this chip can have it"},
		{"no overlay", t.TempDir(), bcm2711, 12,
			"line 12 of pinctrl-bcm2711: no hardware PWM: the kernel has no chip for it; put dtoverlay=pwm,pin=12,func=4" + restart},
		{"other lines", pi4(t, []uint32{18, 19}, []uint32{2, 2}), bcm2711, 13,
			"line 13 of pinctrl-bcm2711: no hardware PWM: pwmchip0 has the lines 18 (function 2), 19 (function 2); put dtoverlay=pwm,pin=13,func=4" + restart},
		{"other lines, generic", pi5(t, "pwmchip0", "pwmchip1", pinNode{names: "gpio12\x00", function: "pwm0\x00"}), rp1, 14,
			"line 14 of pinctrl-rp1: no hardware PWM: pwmchip0 has the lines 12 (pwm0); an overlay of the device tree must give it the function pwm0"},
		{"unknown chip", t.TempDir(), "sim", 18,
			"line 18 of sim: no hardware PWM: nothing is known of this chip's channels; name one as the driver (pwmchip0/1)"},
	} {
		_, _, err := Locate(tc.root, tc.label, tc.offset)
		if !errors.Is(err, ErrNoChannel) || err.Error() != tc.want {
			t.Errorf("%s: error %v, want %s", tc.name, err, tc.want)
		}
	}
}

// TestFindStates: only the setting counts that the kernel made at the start, and the nodes right below it belong to it.
func TestFindStates(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		names  string
		states [][]uint32
		want   []int
	}{
		{"default is the second", "sleep\x00default\x00", [][]uint32{{1}, {2}}, []int{12, 13}},
		{"default of two nodes", "default\x00", [][]uint32{{1, 2}}, []int{12, 13, 18}},
		{"no names", "", [][]uint32{{1}}, []int{18}},
		{"a handle of no node", "default\x00", [][]uint32{{99}}, nil},
		{"no setting", "default\x00", nil, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := board{t, t.TempDir()}
			b.chip(chipNode{
				number: "pwmchip0", device: "platform/soc/fe20c000.pwm", node: "soc/pwm@7e20c000", compatible: "brcm,bcm2711-pwm\x00brcm,bcm2835-pwm",
				channels: "2", names: tc.names, states: tc.states,
			})
			b.pins(pinNode{path: bcmPins + "one", handle: 1, pins: []uint32{18}, functions: []uint32{2}})
			b.pins(pinNode{path: bcmPins + "two", handle: 2})
			b.pins(pinNode{path: bcmPins + "two/a", names: "gpio12\x00", function: "alt0\x00"})
			b.pins(pinNode{path: bcmPins + "two/b", names: "gpio13\x00", function: "alt0\x00"})
			b.pins(pinNode{path: bcmPins + "three", handle: 3, pins: []uint32{19}, functions: []uint32{2}})
			// Not of a board: a chip on USB.
			b.chip(chipNode{number: "pwmchip2", device: "platform/usb1/1-1/1-1.2", channels: "8", withoutNode: true})
			var got []int
			for offset := range 28 {
				if _, _, ok := Find(b.root, bcm2711, offset); ok {
					got = append(got, offset)
				}
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("found %v, want %v", got, tc.want)
			}
		})
	}
}

// TestFindDamaged: a device tree that is no device tree is a reason, not a guess.
func TestFindDamaged(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"soc/pwm@7e20c000/pinctrl-0", bcmPins + "pwm_pins/phandle", bcmPins + "pwm_pins/brcm,pins", bcmPins + "pwm_pins/brcm,function"} {
		root := pi4(t, []uint32{18, 19}, []uint32{2, 2})
		put(t, filepath.Join(root, treePath, file), []byte{0, 0, 0})
		_, _, err := Locate(root, bcm2711, 18)
		if err == nil || !strings.Contains(err.Error(), filepath.Base(file)) || !strings.Contains(err.Error(), "3 bytes, which are no cells") {
			t.Errorf("%s: error %v, want one that names it", file, err)
		}
	}
}

// TestFindOpens: what is found is what Hardware opens.
func TestFindOpens(t *testing.T) {
	t.Parallel()
	root := pi4(t, []uint32{18, 19}, []uint32{2, 2})
	chip, channel, ok := Find(root, bcm2711, 19)
	if !ok {
		t.Fatal("line 19 is not found")
	}
	dir := filepath.Join(root, classPath, "pwmchip0", "pwm1")
	for name, value := range map[string]string{"period": "0", "duty_cycle": "0", "enable": "0", "polarity": "normal"} {
		put(t, filepath.Join(dir, name), []byte(value+"\n"))
	}
	put(t, filepath.Join(filepath.Dir(dir), "unexport"), nil)
	ch, err := Hardware(root, chip, channel, Options{Initial: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "duty_cycle")); err != nil || string(got) != "5000000" {
		t.Errorf("duty_cycle = %s, %v, want 5000000", got, err)
	}
	if err := ch.Close(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(filepath.Join(filepath.Dir(dir), "unexport")); err != nil || string(got) != "1" {
		t.Errorf("unexport = %s, %v, want 1", got, err)
	}
}
