package agents

import (
	"context"
	"maps"
	"testing"
	"time"

	"rollcall/reports"
)

// While a set-up is saved, which can take long, outputs go off in time: those of before and those that are new. One that takes
// longer than its sender waits is not in force afterwards.
func TestGPIOSlowSetup(t *testing.T) {
	const old = "chip: pinctrl-bcm2835\noutputs: {a: {pin: 2, max_on: 2s}, goes: {pin: 3, max_on: 3s}}"
	const doc = "outputs: {a: {pin: 2, max_on: 2s}, new: {pin: 4, initial: on, max_on: 1s}, r: {pin: 5, initial: restore}}"
	for _, tt := range []struct {
		name    string
		takes   time.Duration
		code    string
		at3s    []int
		after   string
		control bool
	}{
		{"slow", 4 * time.Second, "", []int{2, 0, 3, 0, 4, 0}, "a, new, r", false},
		{"too slow", 11 * time.Second, reports.CodeTimeout, []int{2, 0, 3, 0, 4, 0}, "a, goes", false},
		{"a control", 4 * time.Second, "", []int{2, 0, 3, 0}, "a, goes, x", true},
		{"a control, too slow", 7 * time.Second, reports.CodeTimeout, []int{2, 0, 3, 0}, "a, goes", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			gpioBubble(t, "", func(s *gpioStage) {
				s.setup(old)
				s.pass(time.Minute)
				was := s.filesNow()["gpio.setup.yaml"]
				hold, _ := s.disk()
				s.do("output/a", true)
				s.do("output/goes", true)
				slow := make(chan struct{})
				hold.Store(&slow)
				answer := make(chan error, 1)
				go func() {
					timeout := setupTimeout
					if tt.control {
						timeout = commandTimeout
					}
					ctx, cancel := context.WithTimeout(s.t.Context(), timeout)
					defer cancel()
					if !tt.control {
						answer <- s.agent.Setup(ctx, []byte(doc))
						return
					}
					_, err := s.agent.Apply(ctx, reports.Command{Verb: "control", Value: []byte("output\n name x\n pin 6\n")})
					answer <- err
				}()
				s.pass(1500 * time.Millisecond)
				s.wantLevels(2, 1, 3, 1, 4, 0)
				s.pass(1600 * time.Millisecond)
				s.wantLevels(tt.at3s...)
				s.pass(tt.takes - 3100*time.Millisecond)
				hold.Store(nil)
				close(slow)
				err := <-answer
				if got := ""; err != nil {
					if got = reports.CodeOf(err); got != tt.code {
						t.Errorf("%v (%s), want code %q", err, got, tt.code)
					}
				} else if tt.code != "" {
					t.Errorf("no error, want code %q", tt.code)
				}
				names := ""
				gpioEngine(s.t, s.agent, func() {
					for i, n := range s.agent.present.names(func(*gpioLine) bool { return true }) {
						if i > 0 {
							names += ", "
						}
						names += n
					}
				})
				if names != tt.after {
					t.Errorf("in force are %s, want %s", names, tt.after)
				}
				if tt.code != "" && s.filesNow()["gpio.setup.yaml"] != was {
					t.Errorf("files %v", maps.Clone(s.filesNow()))
				}
				s.wantLevels(2, 0, 3, 0, 4, 0)
				s.wantDo("ON", "output/a", true)
				s.pass(3 * time.Second)
				s.wantLevels(2, 0)
			})
		})
	}
}
