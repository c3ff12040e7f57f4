package pwm

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// board is a fixture: sysfs as a Raspberry Pi has it.
type board struct {
	t    *testing.T
	root string
}

// chipNode is a chip and where its device and its node in the device tree are.
type chipNode struct {
	number         string
	device         string // below sys/devices
	node           string // below the device tree
	compatible     string
	channels       string
	names          string // pinctrl-names
	states         [][]uint32
	withoutNode    bool
	withoutPinctrl bool
}

// setting of pins in the device tree.
type pinNode struct {
	path            string
	handle          uint32
	pins, functions []uint32 // brcm,pins and brcm,function
	names, function string   // generic
}

func cellBytes(list ...uint32) []byte {
	var b []byte
	for _, n := range list {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func (b board) path(elem ...string) string {
	return filepath.Join(append([]string{b.root}, elem...)...)
}

func (b board) link(target, path string) {
	b.t.Helper()
	relative, err := filepath.Rel(filepath.Dir(path), target)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Symlink(relative, path); err != nil {
		b.t.Fatal(err)
	}
}

func (b board) chip(c chipNode) {
	b.t.Helper()
	device := b.path("sys/devices", c.device)
	class := filepath.Join(device, "pwm", c.number)
	put(b.t, filepath.Join(class, "npwm"), []byte(c.channels+"\n"))
	b.link(device, filepath.Join(class, "device"))
	b.link(class, b.path(classPath, c.number))
	if c.withoutNode {
		return
	}
	node := b.path(treePath, c.node)
	put(b.t, filepath.Join(node, "compatible"), []byte(c.compatible+"\x00"))
	b.link(node, filepath.Join(device, "of_node"))
	if c.withoutPinctrl {
		return
	}
	put(b.t, filepath.Join(node, "pinctrl-names"), []byte(c.names))
	for i, state := range c.states {
		put(b.t, filepath.Join(node, "pinctrl-"+string(rune('0'+i))), cellBytes(state...))
	}
}

func (b board) pins(p pinNode) {
	b.t.Helper()
	node := b.path(treePath, p.path)
	for name, content := range map[string][]byte{
		"phandle": cellBytes(p.handle), "brcm,pins": cellBytes(p.pins...), "brcm,function": cellBytes(p.functions...),
		"pins": []byte(p.names), "function": []byte(p.function),
	} {
		if len(content) > 0 && !(name == "phandle" && p.handle == 0) {
			put(b.t, filepath.Join(node, name), content)
		}
	}
}

const (
	bcmPins = "soc/gpio@7e200000/"
	rp1Pins = "axi/pcie@120000/rp1/gpio@d0000/"
)

// pi4 is a Pi 4 with the overlay pwm-2chan and its parameters: drivers/pwm/pwm-bcm2835.c (2 channels) and the overlay's source in
// Raspberry Pi's kernel, arch/arm/boot/dts/overlays/pwm-2chan-overlay.dts. The second block is off, as it is unless something is
// wired to it; other settings stand around it.
func pi4(t *testing.T, pins, functions []uint32) string {
	b := board{t, t.TempDir()}
	b.chip(chipNode{
		number: "pwmchip0", device: "platform/soc/fe20c000.pwm", node: "soc/pwm@7e20c000", compatible: "brcm,bcm2835-pwm", channels: "2",
		names: "default\x00", states: [][]uint32{{0x5d}},
	})
	b.pins(pinNode{path: bcmPins + "pwm_pins", handle: 0x5d, pins: pins, functions: functions})
	b.pins(pinNode{path: bcmPins + "audio_pins", handle: 0x5c, pins: []uint32{40, 41}, functions: []uint32{4}})
	b.pins(pinNode{path: bcmPins + "pwm0_0_gpio12", handle: 0x31})
	b.pins(pinNode{path: bcmPins + "pwm0_0_gpio12/pin-pwm", names: "gpio12\x00", function: "alt0\x00"})
	return b.root
}

// pi5 is a Pi 5, whose RP1 has two blocks of 4 channels: that of the header, which an overlay enables, and that of the fan. Kernels up
// to 6.6 number chips by their channels (Documentation/ABI/testing/sysfs-class-pwm: "N is the base of the PWM chip"), so that behind
// the two channels of the BCM2712's own block these are pwmchip2 and pwmchip6; 6.12 counts chips. The README of
// https://github.com/Pioreactor/rpi_hardware_pwm has both numbers for the Pi 5, 2 and 0. Cited from memory, not tried on a board.
func pi5(t *testing.T, header, fan string, p pinNode) string {
	b := board{t, t.TempDir()}
	b.chip(chipNode{
		number: fan, device: "platform/axi/1000120000.pcie/1f0009c000.pwm", node: "axi/pcie@120000/rp1/pwm@9c000",
		compatible: "raspberrypi,rp1-pwm", channels: "4", names: "default\x00", states: [][]uint32{{0x70}},
	})
	b.pins(pinNode{path: rp1Pins + "rp1_pwm1_gpio45", handle: 0x70, names: "gpio45\x00", function: "pwm1\x00"})
	b.chip(chipNode{
		number: header, device: "platform/axi/1000120000.pcie/1f00098000.pwm", node: "axi/pcie@120000/rp1/pwm@98000",
		compatible: "raspberrypi,rp1-pwm", channels: "4", names: "default\x00", states: [][]uint32{{0x71}},
	})
	p.path, p.handle = rp1Pins+"pwm_pins", 0x71
	b.pins(p)
	if header == "pwmchip2" {
		b.chip(chipNode{
			number: "pwmchip0", device: "platform/soc@107c000000/107d517a80.pwm", node: "soc@107c000000/pwm@7d517a80",
			compatible: "brcm,bcm7038-pwm", channels: "2", withoutPinctrl: true,
		})
	}
	return b.root
}

const (
	bcm2711 = "pinctrl-bcm2711"
	rp1     = "pinctrl-rp1"
)
