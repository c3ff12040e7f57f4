package pwm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// block is the PWM block of a board that reaches its header.
type block struct {
	compatible string
	address    string // how the address in its node's name ends, which tells it from the others of its kind
	lines      []muxed
	advice     func(line muxed) string
}

// muxed is a line that a pin function connects to a channel.
type muxed struct {
	offset    int
	channel   int
	legacy    uint32   // its brcm,function, if it has one
	functions []string // the names that the generic binding has for it
}

// noLegacy is of a line that brcm,function cannot connect.
const noLegacy = 0

// Numbers of brcm,function: Documentation/devicetree/bindings/pinctrl/brcm,bcm2835-gpio.txt of the kernel.
const (
	alt0 = 4
	alt5 = 2
)

// blocks returns which block a chip of lines has.
//
// BCM2835 to BCM2711: "BCM2835 ARM Peripherals" 9.5 and "BCM2711 ARM Peripherals" 8.5 (PWM) and their tables of alternative
// functions; the same is in arch/arm/boot/dts/bcm2711.dtsi (pwm0_0_gpio12 and on) and in the README of the pwm overlay. The BCM2711's
// second block, at 7e20c800, reaches GPIO40 and 41 only, which are not on the header.
//
// RP1: "RP1 Peripherals" 3.1.1, table of GPIO functions, and drivers/pinctrl/pinctrl-rp1.c: PWM0[0] to [3] are a0 of GPIO12 to 15,
// PWM0[2] and [3] also a3 of GPIO18 and 19. GPIO16 and 17 have none. brcm,function is accepted there too, with the BCM's meaning, where
// the BCM has the same. PWM0 is at offset 98000; PWM1, at 9c000, turns the fan.
func blocks(label string) (block, bool) {
	switch label {
	case "pinctrl-bcm2835", "pinctrl-bcm2711":
		return block{
			compatible: "brcm,bcm2835-pwm", address: "20c000", advice: overlay,
			lines: []muxed{
				{12, 0, alt0, []string{"alt0"}},
				{13, 1, alt0, []string{"alt0"}},
				{18, 0, alt5, []string{"alt5"}},
				{19, 1, alt5, []string{"alt5"}},
			},
		}, true
	case "pinctrl-rp1":
		return block{
			compatible: "raspberrypi,rp1-pwm", address: "98000", advice: overlay,
			lines: []muxed{
				{12, 0, alt0, []string{"pwm0", "alt0"}},
				{13, 1, alt0, []string{"pwm0", "alt0"}},
				{14, 2, noLegacy, []string{"pwm0", "alt0"}},
				{15, 3, noLegacy, []string{"pwm0", "alt0"}},
				{18, 2, alt5, []string{"pwm0", "alt3"}},
				{19, 3, alt5, []string{"pwm0", "alt3"}},
			},
		}, true
	}
	return block{}, false
}

// overlay says what connects a line.
func overlay(line muxed) string {
	if line.legacy == noLegacy {
		return "an overlay of the device tree must give it the function pwm0"
	}
	return fmt.Sprintf("put dtoverlay=pwm,pin=%d,func=%d into /boot/firmware/config.txt (before Debian 12: /boot/config.txt) and restart",
		line.offset, line.legacy)
}

// ErrNoChannel is why a line has no channel of a PWM chip: it never has, or nothing shows that it is connected to one.
var ErrNoChannel = errors.New("no hardware PWM")

// Find returns the channel of /sys/class/pwm that a line of the chip with this label is connected to. It does not guess: ok only if
// the chip of the block is there and the device tree's pin setting of that block connects this line, which anyone may read. It cannot
// see that a program has used the line as GPIO since; that takes it from the channel until the next start, so a line with hardware
// PWM must not be requested. Locate says why there is none.
func Find(root, gpioLabel string, offset int) (chip, channel int, ok bool) {
	chip, channel, err := Locate(root, gpioLabel, offset)
	return chip, channel, err == nil
}

// Locate is Find with a reason where there is no channel, which is an ErrNoChannel and says what to do if anything can be done.
func Locate(root, gpioLabel string, offset int) (chip, channel int, err error) {
	chip, channel, why := locate(root, gpioLabel, offset)
	if why != nil {
		return 0, 0, fmt.Errorf("line %d of %s: %w: %w", offset, gpioLabel, ErrNoChannel, why)
	}
	return chip, channel, nil
}

func locate(root, label string, offset int) (chip, channel int, why error) {
	b, ok := blocks(label)
	if !ok {
		return 0, 0, errors.New("nothing is known of this chip's channels; name one as the driver (pwmchip0/1)")
	}
	i := slices.IndexFunc(b.lines, func(m muxed) bool { return m.offset == offset })
	if i < 0 {
		return 0, 0, fmt.Errorf("only the lines %s of this chip can have it", b.offsets())
	}
	line := b.lines[i]
	chip, node, err := b.find(root)
	if err != nil {
		return 0, 0, fmt.Errorf("%w; %s", err, b.advice(line))
	}
	pins, err := pinsOf(root, node)
	if err != nil {
		return 0, 0, fmt.Errorf("pwmchip%d: %w", chip, err)
	}
	if !slices.ContainsFunc(pins, line.connected) {
		return 0, 0, fmt.Errorf("pwmchip%d has %s; %s", chip, describe(pins), b.advice(line))
	}
	return chip, line.channel, nil
}

func (b block) offsets() string {
	var list []string
	for _, m := range b.lines {
		list = append(list, fmt.Sprint(m.offset))
	}
	return strings.Join(list, ", ")
}

// find returns the number and the device tree's node of the block's chip. The number differs between kernels: on a Pi 5 the header's
// is pwmchip2 with kernels that number chips by channels, as 6.6, and pwmchip0 with those that count them, as 6.12.
func (b block) find(root string) (chip int, node string, err error) {
	paths, _ := filepath.Glob(filepath.Join(root, classPath, "pwmchip*")) // the pattern is no bad one
	for _, path := range paths {
		n, ok := number(strings.TrimPrefix(filepath.Base(path), "pwmchip"))
		if !ok {
			continue
		}
		node, err := filepath.EvalSymlinks(filepath.Join(path, "device", "of_node"))
		if err != nil {
			continue // a chip without device tree, on USB perhaps, is not the board's
		}
		_, address, _ := strings.Cut(filepath.Base(node), "@")
		compatible, err := os.ReadFile(filepath.Join(node, "compatible"))
		if err == nil && strings.HasSuffix(address, b.address) && slices.Contains(words(compatible), b.compatible) {
			return n, node, nil
		}
	}
	return 0, "", errors.New("the kernel has no chip for it")
}

// connected tells whether the pin setting connects the line.
func (m muxed) connected(p pin) bool {
	if p.offset != m.offset {
		return false
	}
	if p.name == "" {
		return m.legacy != noLegacy && p.legacy == m.legacy
	}
	return slices.Contains(m.functions, p.name)
}

// describe says which lines a pin setting is of.
func describe(pins []pin) string {
	if len(pins) == 0 {
		return "no lines"
	}
	var list []string
	for _, p := range pins {
		list = append(list, p.String())
	}
	return "the lines " + strings.Join(list, ", ")
}
