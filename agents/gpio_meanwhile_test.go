package agents

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// While a set-up is saved, which can take long, outputs go off in time: those of before and those that are new. One that takes
// longer than its sender waits is not in force afterwards. The agent is held all the while, so that this takes real time.
func TestGPIOSlowSetup(t *testing.T) {
	t.Parallel()
	const old = "chip: pinctrl-bcm2835\noutputs: {a: {pin: 2, max_on: 200ms}, goes: {pin: 3, max_on: 200ms}}"
	const doc = "outputs: {a: {pin: 2, max_on: 200ms}, new: {pin: 4, initial: on, max_on: 200ms}, r: {pin: 5, initial: restore}}"
	for _, tt := range []struct {
		name  string
		late  bool
		after string
	}{{"slow", false, "a new r"}, {"too slow", true, "a goes"}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newGPIOBench(t)
			a := b.open("chip: pinctrl-bcm2835")
			if err := a.Setup(t.Context(), []byte(old)); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(b.dir, "gpio.setup.yaml")
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			slow := make(chan struct{})
			gpioEngine(t, a, func() {
				a.write = func(file string, doc []byte) error {
					<-slow
					return config.Save(file, doc)
				}
			})
			gpioSet(t, a, "output/a", true)
			gpioSet(t, a, "output/goes", true)
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if tt.late {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
			}
			defer cancel()
			answer := make(chan error, 1)
			go func() { answer <- a.Setup(ctx, []byte(doc)) }()
			deadline := time.After(time.Minute)
			for b.chip().Level(2)+b.chip().Level(3)+b.chip().Level(4) > 0 || len(b.chip().History(4)) < 2 {
				select {
				case <-deadline:
					t.Fatalf("levels %d %d %d", b.chip().Level(2), b.chip().Level(3), b.chip().Level(4))
				case err := <-answer:
					t.Fatalf("answered before it was saved: %v", err)
				case <-time.After(5 * time.Millisecond):
				}
			}
			if tt.late {
				<-ctx.Done()
			}
			close(slow)
			err = <-answer
			now, readErr := os.ReadFile(file)
			if readErr != nil {
				t.Fatal(readErr)
			}
			switch {
			case !tt.late && (err != nil || string(now) == string(was)):
				t.Errorf("%v, saved %s", err, now)
			case tt.late && (err == nil || reports.CodeOf(err) != reports.CodeTimeout || string(now) != string(was)):
				t.Errorf("%v, saved %s", err, now)
			}
			var names []string
			gpioEngine(t, a, func() { names = slices.Sorted(slices.Values(a.present.names(func(*gpioLine) bool { return true }))) })
			if got := strings.Join(names, " "); got != tt.after {
				t.Errorf("in force are %s, want %s", got, tt.after)
			}
		})
	}
}
