//go:build linux

package agents

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/warthog618/go-gpiosim"

	"rollcall/gpio"
)

// simBoard is a chip of gpio-sim, and wires its lines.
type simBoard struct {
	t    *testing.T
	name string

	mu   sync.Mutex
	sim  *gpiosim.Sim // nil: unplugged
	chip *gpiosim.Chip
}

// Plug makes the chip.
func (b *simBoard) Plug() {
	b.t.Helper()
	var lines []gpiosim.NewBankOption
	for n := range 28 {
		lines = append(lines, gpiosim.WithNamedLine(n, fmt.Sprintf("GPIO%d", n)))
	}
	sim, err := gpiosim.NewSim(gpiosim.WithName(b.name), gpiosim.WithBank(gpiosim.NewBank("bank", 28, lines...)))
	if err != nil {
		b.t.Fatal(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sim, b.chip = sim, &sim.Chips[0]
}

// Unplug takes it away.
func (b *simBoard) Unplug() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.sim != nil {
		b.sim.Close()
	}
	b.sim = nil
}

// Path returns its path.
func (b *simBoard) Path() string { return b.chip.DevPath() }

// Open opens it by its label.
func (b *simBoard) Open(name string) (gpio.Chip, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case name != "bank":
		return nil, fmt.Errorf("open GPIO chip %q: there is bank", name)
	case b.sim == nil:
		return nil, fmt.Errorf("open GPIO chip %q: it is gone", name)
	}
	return gpio.Open(b.chip.DevPath())
}

// Drive pulls a line from outside.
func (b *simBoard) Drive(offset, value int) {
	b.t.Helper()
	if err := b.chip.SetPull(offset, value); err != nil {
		b.t.Fatal(err)
	}
}

// Level reads a line from outside.
func (b *simBoard) Level(offset int) int {
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
	for i, feature := range gpioFeatures() {
		if feature.notOnKernel != "" {
			continue // docs/gpio.md says so
		}
		t.Run(feature.name, func(t *testing.T) {
			board := &simBoard{t: t, name: fmt.Sprintf("features%d", i)}
			board.Plug()
			t.Cleanup(board.Unplug)
			feature.run(newFeatures(t, board))
		})
	}
}
