package agents

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/gpio"
)

// An agent without edges notices within three seconds that its chip was unplugged, also when a line that it looked at was released.
func TestGPIOGoneWithoutEdges(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]string{
		"outputs": "outputs: {x: {pin: 2}, y: {pin: 3}}", "an input that is asked": "inputs: {x: {pin: 2, on_change: false}, y: {pin: 3, on_change: false}}",
		"with edges": "outputs: {x: {pin: 2}}\ninputs: {y: {pin: 3}}",
	} {
		t.Run(name, func(t *testing.T) {
			for release, name := range map[bool]string{false: "all held", true: "one released"} {
				t.Run(name, func(t *testing.T) {
					gpioBubble(t, options, func(s *gpioStage) {
						if release {
							kind, _, _ := strings.Cut(options, "s:")
							s.do("control", "{verb: release, path: "+kind+"/x}")
						}
						s.pass(time.Minute)
						s.told()
						s.chip().Unplug()
						s.chip().Wait()
						s.pass(3 * time.Second)
						synctest.Wait()
						select {
						case r, ok := <-s.agent.Events():
							if ok || !errors.Is(s.agent.Err(), gpio.ErrGone) {
								s.t.Errorf("event %v %v, Err %v, want the end and ErrGone", r, ok, s.agent.Err())
							}
						default:
							s.t.Error("it has not noticed")
						}
					})
				})
			}
		})
	}
}
