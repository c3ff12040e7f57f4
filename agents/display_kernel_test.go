//go:build linux

package agents

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/warthog618/go-gpiosim"

	"rollcall/gpio"
)

// TestKernelDisplay moves the wires by the kernel's gpio-sim. Nothing hangs on them, and a simulated line obeys its pull-up: so
// with the buttons the display is not there, and without them it is written to in vain.
func TestKernelDisplay(t *testing.T) {
	if _, err := os.Stat("/sys/kernel/config/gpio-sim"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("ROLLCALL_GUEST") == "1" {
			t.Fatalf("no gpio-sim in a guest of the lab: %v", err)
		}
		t.Skip("needs root and the kernel's gpio-sim; run by make lab")
	}
	sim, err := gpiosim.NewSim(gpiosim.WithName("display"), gpiosim.WithBank(gpiosim.NewBank("bank", 28)))
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	d := Deps{Service: "display", OpenChip: func(string) (gpio.Chip, error) { return gpio.Open(sim.Chips[0].ChipName()) }}
	options := func(scan string) string {
		return fmt.Sprintf("{chip: bank, stb: %d, clk: %d, dio: %d, scan: %s}", displaySTB, displayCLK, displayDIO, scan)
	}
	if _, err := iioStart(t, displayFactory(), options("50ms"), d); !errors.Is(err, errDisplayMute) {
		t.Fatalf("with buttons: %v", err)
	}
	a, err := iioStart(t, displayFactory(), options("0s"), d) // the lines were given back
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if got := displaySet(t, a, "dsp1", "12345678"); got != "1234" {
		t.Errorf("dsp1 reads back %v", got)
	}
	t.Logf("a text of eight digits took %v", time.Since(start))
	board := &simBoard{t: t, chip: &sim.Chips[0]}
	if board.Level(displaySTB) != 1 || board.Level(displayCLK) != 1 {
		t.Error("the wires are not at rest")
	}
}
