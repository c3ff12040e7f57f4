package agents

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/reports"
)

// While a set-up waits for a channel of the hardware, which udev gives it late or never, timers end in time and commands are answered.
func TestGPIOWaitsForAChannelAlone(t *testing.T) {
	for name, comes := range map[string]bool{"late": true, "never": false} {
		t.Run(name, func(t *testing.T) {
			gpioBubble(t, "outputs: {pump: {pin: 2, max_on: 100ms}, other: {pin: 3}}", func(s *gpioStage) {
				s.with.Root = gpioPWMChip(s.t, 1)
				folder := filepath.Join(s.with.Root, "sys/class/pwm/pwmchip0/pwm0")
				if err := os.Rename(folder, folder+".late"); err != nil {
					s.t.Fatal(err)
				}
				if err := s.agent.Close(); err != nil {
					s.t.Fatal(err)
				}
				s.begin("outputs: {pump: {pin: 2, max_on: 100ms}, other: {pin: 3}}")
				s.do("output/pump", true)
				done, start := make(chan error, 1), time.Now()
				go func() { // ends with the set-up, which is waited for
					_, err := s.agent.Apply(s.t.Context(), reports.Command{Verb: "control", Value: []byte("pwm: {lamp: {pin: 18, initial: 20, driver: pwmchip0/0}}")})
					done <- err
				}()
				s.pass(150 * time.Millisecond)
				if got := s.pwmFile("export"); got != "0" {
					s.t.Errorf("exported: %q", got)
				}
				s.wantLevels(2, 0)
				s.wantDo("ON", "output/other", true)
				s.wantTold("output/pump OFF")
				if time.Since(start) != 150*time.Millisecond {
					s.t.Errorf("that took %v", time.Since(start))
				}
				if comes {
					if err := os.Rename(folder+".late", folder); err != nil {
						s.t.Fatal(err)
					}
				}
				synctest.Wait()
				err := <-done
				if comes && (err != nil || s.pwm("pwm0") != "1000000 200000 normal 1" || time.Since(start) > 200*time.Millisecond) {
					s.t.Errorf("set-up: %v after %v, channel %s", err, time.Since(start), s.pwm("pwm0"))
				}
				if !comes && (err == nil || !strings.Contains(err.Error(), "pwmchip0/0") || s.pwmFile("unexport") != "0" || strings.Contains(gpioDoc(s.t, s.agent), "lamp")) {
					s.t.Errorf("set-up: %v, unexported %q", err, s.pwmFile("unexport"))
				}
				s.wantValue("output/other", "ON")
				s.wantDo("OFF", "output/other", false)
			})
		})
	}
}
