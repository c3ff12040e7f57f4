package agents

import (
	"context"
	"fmt"
	"testing"
	"time"

	"rollcall/reports"
)

const gpioPendingOptions = "outputs: {up: {pin: 2}, down: {pin: 3, as: led}}\ninterlocks: [[up, down]]\ndead_time: 300ms"

// An output that is to blink, but waits for its interlock, is off until its line is on.
func TestGPIOBlinkPending(t *testing.T) {
	gpioBubble(t, gpioPendingOptions, func(s *gpioStage) {
		s.pass(time.Second)
		s.wantDo("ON", "output/up", true)
		s.wantTold("")
		s.wantDo("blink", "blink/down", "blink")
		s.wantLevels(2, 0, 3, 0)
		s.wantTold("blink/down blink, output/down OFF, output/up OFF")
		s.wantValue("output/down", "OFF")
		s.wantValue("blink/down", "blink")
		s.pass(300 * time.Millisecond)
		s.wantLevels(3, 1)
		s.wantTold("output/down ON")
		s.pass(time.Second)
		s.wantLevels(3, 0) // its pause
		s.wantTold("")
		s.wantValue("output/down", "ON")
	})
}

// TOGGLE is the opposite of what is to be, however it is sent.
func TestGPIOToggle(t *testing.T) {
	for _, how := range []struct {
		name, path string
		value      any
	}{{"set", "output/down", reports.Toggle}, {"control", "control", `{"verb":"toggle","path":"output/down"}`}} {
		t.Run(how.name, func(t *testing.T) {
			gpioBubble(t, gpioPendingOptions, func(s *gpioStage) {
				toggle := func(want string) {
					s.t.Helper()
					s.wantDo(want, how.path, how.value)
				}
				s.pass(time.Second)
				toggle("ON")
				toggle("OFF")
				s.pass(time.Second)
				s.wantDo("ON", "output/up", true)
				toggle("OFF") // it waits for the dead time
				s.wantLevels(2, 0, 3, 0)
				toggle("OFF") // and does not any more
				s.pass(time.Second)
				s.wantLevels(2, 0, 3, 0)
				s.wantDo("alert", "blink/down", "alert")
				s.pass(700 * time.Millisecond) // a pause
				toggle("OFF")
				s.wantValue("blink/down", "off")
				s.pass(time.Minute)
				s.wantLevels(3, 0)
			})
		})
	}
	gpioBubble(t, gpioPendingOptions, func(s *gpioStage) {
		s.pass(time.Second)
		s.wantDo("ON", "output/up", reports.Toggle, "for", "2s")
		s.pass(2 * time.Second)
		s.wantLevels(2, 0)
	})
}

// togglerAgent knows what TOGGLE makes of its points.
type togglerAgent struct{ *fakeAgent }

func (togglerAgent) Toggles() {}

// The runner leaves TOGGLE to an agent that knows more than its state.
func TestTogglerGetsToggle(t *testing.T) {
	t.Parallel()
	a := newFake()
	var got reports.Command
	a.onApply = func(_ context.Context, c reports.Command) (reports.Reading, error) {
		got = c
		return reports.Reading{Value: true}, nil
	}
	inBubble(t, nil, same(togglerAgent{a}), func(b *bench) {
		b.do("set/relay", `{"value":"toggle","for":"5s"}`)
		b.wantCodes("")
		b.wantState("relay", "ON")
	})
	if got.Value != reports.Toggle || got.Args["for"] != "5s" {
		t.Errorf("the agent got %+v", got)
	}
}

// An output that blinks and is no led any more is what was published of it: on.
func TestGPIOLosesBlink(t *testing.T) {
	const options = "outputs: {a: {pin: 2, max_on: 10s%s}, b: {pin: 3%[1]s}}"
	gpioBubble(t, fmt.Sprintf(options, ", as: led"), func(s *gpioStage) {
		s.wantDo("blink", "blink/a", "blink")
		s.wantDo("blink", "blink/b", "blink")
		s.pass(time.Second)
		s.wantLevels(2, 0, 3, 0) // pauses
		s.setup(fmt.Sprintf(options, ", as: relay"))
		s.wantLevels(2, 1, 3, 1)
		s.wantValue("output/b", "ON")
		s.pass(8900 * time.Millisecond)
		s.wantLevels(2, 1, 3, 1)
		s.pass(200 * time.Millisecond) // max_on counts from the first flash
		s.wantLevels(2, 0, 3, 1)
		s.wantDo("OFF", "output/b", false)
		s.pass(time.Minute)
		s.wantLevels(2, 0, 3, 0)
	})
}

// One that is a one-shot from then on is off, since its pulse is over.
func TestGPIOLosesBlinkForSingle(t *testing.T) {
	gpioBubble(t, "outputs: {a: {pin: 2, as: led}}", func(s *gpioStage) {
		s.wantDo("blink", "blink/a", "blink")
		s.setup("outputs: {a: {pin: 2, single: true}}")
		s.wantLevels(2, 0)
		s.wantValue("output/a", "OFF")
	})
}
