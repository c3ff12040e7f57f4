package agents

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// boots has the host say that it is that long up since a boot.
func (s *gpioStage) boots(boot string, up time.Duration) {
	s.t.Helper()
	if s.with.Root == "" {
		s.with.Root = s.t.TempDir()
	}
	proc := filepath.Join(s.with.Root, "proc/sys/kernel/random")
	err := os.MkdirAll(proc, 0o750)
	if err == nil {
		err = os.WriteFile(filepath.Join(proc, "boot_id"), []byte(boot+"\n"), 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(s.with.Root, "proc/uptime"), fmt.Appendf(nil, "%.2f 1.00\n", up.Seconds()), 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// max_on counts from when the line went on, over kills, clean restarts and boots, as far as a clock tells.
func TestGPIOMaxOnOverRestarts(t *testing.T) {
	const pump = "outputs: {pump: {pin: 2, max_on: 12s, initial: restore}}"
	for _, tt := range []struct {
		name, options string
		again         func(s *gpioStage) // after the pump was on for 8 s
		left          time.Duration      // for how long it is on then
	}{
		{"killed", pump, func(s *gpioStage) { s.kill(); s.boots("a", 108*time.Second) }, 4 * time.Second},
		{"killed, and away", pump, func(s *gpioStage) { s.kill(); s.boots("a", 110*time.Second); s.pass(2 * time.Second) }, 2 * time.Second},
		{"the clock of the day was set", pump, func(s *gpioStage) { s.kill(); s.boots("a", 110*time.Second) }, 2 * time.Second},
		{"killed, and away for long", pump, func(s *gpioStage) { s.kill(); s.boots("a", 500*time.Second) }, 0},
		{"stopped", pump, func(s *gpioStage) { _ = s.agent.Close(); s.boots("a", 108*time.Second) }, 4 * time.Second},
		{"booted", pump, func(s *gpioStage) { s.kill(); s.pass(time.Second); s.boots("b", time.Second) }, 3 * time.Second},
		{"booted, hours later", pump, func(s *gpioStage) { s.kill(); s.pass(time.Hour); s.boots("b", time.Second) }, 0},
		{"no clock", pump, func(s *gpioStage) {
			s.kill()
			file := filepath.Join(s.dir, "gpio.state.json")
			doc, err := os.ReadFile(file)
			if err == nil {
				err = os.WriteFile(file, []byte(strings.Replace(string(doc), `"wall_ms": `, `"wall_ms": 9`, 1)), 0o600)
			}
			if err != nil {
				s.t.Fatal(err)
			}
			s.boots("b", time.Second)
		}, 0},
		{"keep", strings.Replace(pump, "restore", "keep", 1), func(s *gpioStage) { s.kill(); s.chip().Drive(2, 1); s.boots("a", 108*time.Second) }, 4 * time.Second},
		{"keep, and booted", strings.Replace(pump, "restore", "keep", 1), func(s *gpioStage) { s.kill(); s.chip().Drive(2, 1); s.boots("b", 0) }, 12 * time.Second},
		{"on", strings.Replace(pump, "restore", "on", 1), func(s *gpioStage) { s.kill(); s.boots("a", 108*time.Second) }, 4 * time.Second},
		{"on, and away for long", strings.Replace(pump, "restore", "on", 1), func(s *gpioStage) { s.kill(); s.boots("a", 200*time.Second) }, 0},
		{"on, and stopped", strings.Replace(pump, "restore", "on", 1), func(s *gpioStage) { _ = s.agent.Close(); s.boots("a", 200*time.Second) }, 12 * time.Second},
		{"on, and booted", strings.Replace(pump, "restore", "on", 1), func(s *gpioStage) { s.kill(); s.pass(time.Hour); s.boots("b", 0) }, 12 * time.Second},
		{"interlocked", strings.Replace(pump, "}}", "}, other: {pin: 3}}\ninterlocks: [[pump, other]]\ndead_time: 1s", 1),
			func(s *gpioStage) { s.kill(); s.boots("a", 108*time.Second) }, 4 * time.Second},
		{"renew", "outputs: {pump: {pin: 2, initial: restore, failsafe: {after: 12s, renew: true}}}",
			func(s *gpioStage) { s.kill(); s.boots("a", 108*time.Second) }, 4 * time.Second},
		{"renew, and away for long", "outputs: {pump: {pin: 2, initial: restore, failsafe: {after: 12s, renew: true}}}",
			func(s *gpioStage) { s.kill(); s.boots("a", 112*time.Second) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gpioBubble(t, "", func(s *gpioStage) {
				if err := s.agent.Close(); err != nil {
					t.Fatal(err)
				}
				s.boots("a", 100*time.Second)
				s.begin(tt.options)
				if strings.Contains(tt.options, "restore") {
					s.pass(gpioKeptEvery)
				}
				s.do("output/pump", true)
				s.pass(8 * time.Second)
				s.wantLevels(2, 1)
				tt.again(s)
				before := len(s.chip().History(2))
				s.begin(tt.options)
				if strings.Contains(tt.options, "interlocks") {
					s.pass(1001 * time.Millisecond)
					tt.left -= time.Second
				}
				if tt.left == 0 {
					s.pass(time.Millisecond)
					s.wantLevels(2, 0)
					for _, c := range s.chip().History(2)[before:] {
						if c.Level != 0 {
							t.Error("it was on for a moment")
						}
					}
					return
				}
				s.pass(tt.left - 100*time.Millisecond)
				s.wantLevels(2, 1)
				s.pass(200 * time.Millisecond)
				s.wantLevels(2, 0)
			})
		})
	}
}
