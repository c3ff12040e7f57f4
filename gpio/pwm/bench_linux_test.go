package pwm

import (
	"os"
	"testing"

	"github.com/warthog618/go-gpiosim"

	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
)

// gpioSim is there where the kernel can simulate chips.
const gpioSim = "/sys/kernel/config/gpio-sim"

// benchChips returns the chips to measure on.
func benchChips() []benchChip {
	return []benchChip{
		{"memory", func(*testing.B) (gpio.Chip, int) { return gpiotest.Sim(), lineOffset }},
		{"gpio-sim", func(b *testing.B) (gpio.Chip, int) { return simulated(b), 0 }},
	}
}

// simulated returns a chip of gpio-sim.
func simulated(tb testing.TB) gpio.Chip {
	tb.Helper()
	_, err := os.Stat(gpioSim)
	switch {
	case err == nil && os.Geteuid() == 0:
	case os.Getenv("ROLLCALL_GUEST") == "1":
		tb.Fatalf("no gpio-sim in a guest of the lab: %v", err)
	default:
		tb.Skip("needs root and the kernel's gpio-sim; run by make lab")
	}
	sim, err := gpiosim.NewSim(gpiosim.WithBank(gpiosim.NewBank("pwm", 1)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(sim.Close)
	chip, err := gpio.Open(sim.Chips[0].ChipName())
	if err != nil {
		tb.Fatal(err)
	}
	return chip
}

// TestKernelSoftware makes pulses on a line of a real kernel.
func TestKernelSoftware(t *testing.T) {
	const periods = 50
	f := measure(t, simulated(t), 0, periods, Options{Period: DefaultPeriod, Initial: 0.3})
	// One that pays for a late one is half as long.
	if least := active(0.3, DefaultPeriod)/2 - 2*tolerance; f.periods != periods || f.shortest < least {
		t.Errorf("%d periods, the shortest pulse %v, want %d, at least %v", f.periods, f.shortest, periods, least)
	}
}
