package agents

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"rollcall/gpio/pwm"
)

// gpioUnprepared ends a change of the set-up, before anything is touched, that needs channels of the hardware which nobody has
// prepared: udev takes its time to let us at them, and nobody else would have the agent meanwhile.
type gpioUnprepared struct{ channels [][2]int }

func (e *gpioUnprepared) Error() string {
	return fmt.Sprintf("channels %v are not prepared", e.channels)
}

// doPrepared calls f as do does. If that needs channels of the hardware they are prepared, while others have the agent, and f is called
// again.
func (a *gpioAgent) doPrepared(ctx context.Context, f func() error) error {
	run := func(channels [][2]int) (err error) {
		if callErr := a.do(ctx, func() {
			a.prepared = channels
			err = f()
			a.prepared = nil
		}); callErr != nil {
			return callErr
		}
		return err
	}
	err := run(nil)
	needs, ok := errors.AsType[*gpioUnprepared](err)
	if !ok {
		return err
	}
	var undo []func() error
	for _, c := range needs.channels {
		undo = append(undo, pwm.Prepare(ctx, a.deps.Root, c[0], c[1]))
	}
	if err = run(needs.channels); err != nil {
		for _, u := range undo {
			if undoErr := u(); undoErr != nil {
				a.log.Warn("channel is not given back", "err", undoErr)
			}
		}
	}
	return err
}

// unprepared returns an error if a set-up that is about to be taken needs channels that are neither ours nor prepared.
func (a *gpioAgent) unprepared(lines []*gpioLine) error {
	var needs [][2]int
	for _, l := range lines {
		w := l.wiring
		channel := [2]int{w.chip, w.channel}
		switch {
		case !w.hardware:
		case slices.Contains(a.prepared, channel):
			l.prepared = true
		case !slices.ContainsFunc(a.present.lines, func(p *gpioLine) bool {
			return p.wiring.hardware && p.hold.held() && [2]int{p.wiring.chip, p.wiring.channel} == channel
		}):
			needs = append(needs, channel)
		}
	}
	if len(needs) > 0 && a.prepared == nil {
		return &gpioUnprepared{needs}
	}
	return nil
}
