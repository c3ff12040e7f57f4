package agents

import (
	"strings"
	"testing"
	"time"

	"rollcall/reports"
)

// An output that a set-up gives another name on the same line is the same output: its timers, its dead time, its time on and what it
// is to be restored to go on.
func TestGPIORename(t *testing.T) {
	const (
		options = "outputs: {up: {pin: 2, max_on: 10s}, down: {pin: 3}, t: {pin: 4, initial: restore}, led: {pin: 5, as: led}}\ninterlocks: [[up, down]]\ndead_time: 2s"
		renamed = "outputs: {auf: {pin: 2, max_on: 10s}, ab: {pin: 3}, z: {pin: 4, initial: restore}, lamp: {pin: 5, as: led}}\ninterlocks: [[auf, ab]]\ndead_time: 2s"
	)
	doc := func(text string) string { return "chip: pinctrl-bcm2835\n" + text }
	t.Run("timers and patterns", func(t *testing.T) {
		gpioBubble(t, options, func(s *gpioStage) {
			s.pass(2 * time.Second)
			s.do("output/up", true)
			s.do("output/t", true, "for", "5s")
			s.do("blink/led", "alert")
			s.pass(4 * time.Second)
			s.setup(doc(renamed))
			s.wantLevels(2, 1, 3, 0, 4, 1)
			s.wantValue("blink/lamp", "alert")
			s.pass(time.Second)
			s.wantLevels(2, 1, 4, 0)
			s.pass(5*time.Second - 1)
			s.wantLevels(2, 1)
			s.pass(1)
			s.wantLevels(2, 0)
		})
	})
	t.Run("a wait for the dead time", func(t *testing.T) {
		gpioBubble(t, options, func(s *gpioStage) {
			s.pass(2 * time.Second)
			s.do("output/up", true)
			s.do("output/down", true)
			s.pass(time.Second)
			s.setup(doc(renamed))
			s.pass(time.Second - 1)
			s.wantLevels(2, 0, 3, 0)
			s.pass(1)
			s.wantLevels(2, 0, 3, 1)
		})
	})
	t.Run("changed places", func(t *testing.T) {
		gpioBubble(t, options, func(s *gpioStage) {
			s.pass(2 * time.Second)
			s.do("output/up", true)
			s.setup(doc(strings.NewReplacer("up: {pin: 2", "up: {pin: 3", "down: {pin: 3", "down: {pin: 2").Replace(options)))
			s.wantLevels(2, 1, 3, 0)
			s.wantValue("output/down", "ON")
			s.do("output/up", true)
			s.pass(2*time.Second - 1)
			s.wantLevels(2, 0, 3, 0)
			s.pass(1)
			s.wantLevels(2, 0, 3, 1)
		})
	})
	t.Run("one that begins as it is beside it", func(t *testing.T) {
		gpioBubble(t, options, func(s *gpioStage) {
			s.chip().Drive(6, 1)
			s.pass(2 * time.Second)
			s.do("output/up", true)
			s.do("output/up", false)
			err := s.agent.Setup(s.t.Context(), []byte(doc("outputs: {auf: {pin: 2}, gate: {pin: 6, initial: keep}}\ninterlocks: [[auf, gate]]\ndead_time: 2s")))
			if err == nil || !strings.Contains(err.Error(), `output "gate" cannot start on: "auf" was on less than 2s ago`) {
				s.t.Errorf("gate, at once: %v", err)
			}
		})
	})
	t.Run("what is restored", func(t *testing.T) {
		gpioBubble(t, "outputs: {a: {pin: 2, initial: restore}, b: {pin: 3, initial: restore}, c: {pin: 4, initial: restore}}", func(s *gpioStage) {
			s.do("output/a", true)
			s.do("output/c", true, "for", "1h")
			const other = "outputs: {b: {pin: 2, initial: restore}, a: {pin: 3, initial: restore}, z: {pin: 4, initial: restore}}"
			s.setup(doc(other))
			s.pass(time.Minute)
			s.wantLevels(2, 1, 3, 0, 4, 1)
			s.kill()
			s.begin(other)
			s.wantLevels(2, 1, 3, 0, 4, 0)
		})
	})
	t.Run("a new one by the name of one that goes on", func(t *testing.T) {
		gpioBubble(t, "outputs: {a: {pin: 2, initial: restore}}", func(s *gpioStage) {
			s.do("output/a", true)
			s.pass(time.Minute)
			const other = "outputs: {b: {pin: 2, initial: restore}, a: {pin: 3, initial: restore}}"
			s.setup(doc(other))
			s.wantLevels(2, 1, 3, 0)
			s.wantValue("output/a", "OFF")
			s.pass(time.Minute)
			s.kill()
			s.begin(other)
			s.wantLevels(2, 1, 3, 0)
		})
	})
}

// An ON that waits and is then dropped without having switched anything is not restored.
func TestGPIORestoreDropped(t *testing.T) {
	const options = "outputs: {a: {pin: 2}, w: {pin: 3, initial: restore}, l: {pin: 4, initial: restore}, o: {pin: 5}, b: {pin: 6, initial: restore, as: led}, q: {pin: 7}}\n" +
		"interlocks: [[a, w], [l, o], [b, q]]\ndead_time: 2s"
	gpioBubble(t, options, func(s *gpioStage) {
		s.pass(2 * time.Second)
		s.do("output/a", true)
		s.do("output/w", true)               // waits
		s.do("output/a", true)               // and is dropped
		s.do("output/l", false, "for", "1m") // waits for its timer
		s.do("output/o", true)               // and is dropped
		s.do("blink/b", "heartbeat")
		s.pass(time.Minute) // in its pause, and saved
		s.do("output/q", true)
		s.pass(time.Minute)
		s.wantLevels(2, 1, 3, 0, 4, 0, 5, 1, 6, 0, 7, 1)
		s.kill()
		s.begin(options)
		s.pass(time.Minute)
		s.wantLevels(2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0)
	})
}

// A lamp by another name is as bright as it was.
func TestGPIORenamePWM(t *testing.T) {
	t.Parallel()
	a := newGPIOBench(t).open("chip: pinctrl-bcm2835\npwm: {lamp: {pin: 18, initial: 20}}")
	if _, err := a.Apply(t.Context(), reports.Command{Verb: "set", Path: "pwm/lamp", Value: 35.0}); err != nil {
		t.Fatal(err)
	}
	if err := a.Setup(t.Context(), []byte("pwm: {light: {pin: 18, initial: 20}}")); err != nil {
		t.Fatal(err)
	}
	if got := gpioLevel(t, a, "pwm/light"); got != "35" {
		t.Errorf("pwm/light is %s, want 35", got)
	}
}
