//go:build linux

package agents

import (
	"fmt"
	"os"
	"testing"

	"github.com/warthog618/go-gpiosim"

	"rollcall/gpio"
)

// simBoard wires the lines of a chip of gpio-sim.
type simBoard struct {
	t    *testing.T
	chip *gpiosim.Chip
}

// Drive pulls a line from outside.
func (b simBoard) Drive(offset, value int) {
	b.t.Helper()
	if err := b.chip.SetPull(offset, value); err != nil {
		b.t.Fatal(err)
	}
}

// Level reads a line from outside.
func (b simBoard) Level(offset int) int {
	b.t.Helper()
	v, err := b.chip.Level(offset)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// TestKernelGPIOFeatures runs every feature of the gpio service on a chip of the kernel's gpio-sim.
func TestKernelGPIOFeatures(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/config/gpio-sim"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("ROLLCALL_GUEST") == "1" {
			t.Fatalf("no gpio-sim in a guest of the lab: %v", err)
		}
		t.Skip("needs root and the kernel's gpio-sim; run by make lab")
	}
	for i, feature := range gpioFeatures {
		if feature.notOnKernel != "" {
			continue // docs/gpio.md says so
		}
		t.Run(feature.name, func(t *testing.T) {
			var lines []gpiosim.NewBankOption
			for n := range 28 {
				lines = append(lines, gpiosim.WithNamedLine(n, fmt.Sprintf("GPIO%d", n)))
			}
			sim, err := gpiosim.NewSim(gpiosim.WithName(fmt.Sprintf("features%d", i)), gpiosim.WithBank(gpiosim.NewBank("bank", 28, lines...)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(sim.Close)
			feature.run(newFeatures(t, simBoard{t, &sim.Chips[0]}, func(name string) (gpio.Chip, error) {
				if name != "bank" {
					return nil, fmt.Errorf("open GPIO chip %q: there is bank", name)
				}
				return gpio.Open(sim.Chips[0].ChipName())
			}))
		})
	}
}
