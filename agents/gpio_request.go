package agents

import (
	"fmt"

	"rollcall/gpio"
)

// reconfigure makes a line that is held what l wants.
func (a *gpioAgent) reconfigure(l *gpioLine, line gpio.Line) error {
	return a.configure(l, &gpioHold{base: l.edges()}, func(o gpio.LineOptions, h *gpioHold) error {
		h.line = line
		return line.Reconfigure(o)
	})
}

// request takes a line, or a channel of the hardware.
func (a *gpioAgent) request(chip gpio.Chip, l *gpioLine) error {
	if l.wiring.period != 0 {
		return a.requestMod(chip, l)
	}
	return a.configure(l, &gpioHold{base: l.edges()}, func(o gpio.LineOptions, h *gpioHold) (err error) {
		h.line, err = chip.Request(l.wiring.offset, o)
		return err
	})
}

// configure has the line held by h, as apply makes it of the options. A line that was held already keeps its owner: it is being
// put back. What the kernel can't debounce, the input does itself.
func (a *gpioAgent) configure(l *gpioLine, h *gpioHold, apply func(gpio.LineOptions, *gpioHold) error) error {
	if l.hold != nil && !l.hold.probed {
		h.owner, h.value = l.hold.owner, l.hold.value
		if h.owner == nil {
			h.owner = l
		}
	} else {
		h.value = gpioBit(l.start)
	}
	o := a.lineOptions(l, h)
	err := apply(o, h)
	if gpio.Missing(err) == gpio.FeatureDebounce {
		o.Debounce = 0
		h.soft = true
		err = apply(o, h)
	}
	if err != nil {
		return fmt.Errorf("take %s: %w", l.path, err)
	}
	l.hold = h
	return nil
}

// lineOptions says how a line is requested: an output with its value, so that there is no glitch.
func (a *gpioAgent) lineOptions(l *gpioLine, h *gpioHold) gpio.LineOptions {
	w := l.wiring
	o := gpio.LineOptions{Consumer: a.consumer(), Output: w.output, ActiveLow: w.activeLow, Bias: w.pull, Debounce: w.debounce}
	if w.output {
		o.Value, o.Drive = h.value, w.drive
	}
	if w.edges {
		o.Events = func(e gpio.Event) { a.edge(h, e) }
		o.Gone = a.inbox.unplugged
	}
	return o
}

// consumer is the name under which the lines are held.
func (a *gpioAgent) consumer() string { return "rollcall-" + a.deps.Service }

func gpioBit(on bool) int {
	if on {
		return 1
	}
	return 0
}
