package agents

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"rollcall/config"
)

// Reload brings the options of another configuration into force as a set-up, so that a line whose wiring stays the same is not touched.
// A saved set-up goes before them, as it does at the start.
func (a *gpioAgent) Reload(o Options, d Deps) (err error) {
	opts, ok := o.(*gpioOptions)
	if !ok {
		return fmt.Errorf("gpio: options are a %T", o)
	}
	if callErr := a.do(context.Background(), func() { err = a.reload(*opts, d) }); callErr != nil {
		return callErr
	}
	return err
}

// reload is Reload for who has the agent.
func (a *gpioAgent) reload(o gpioOptions, d Deps) error {
	a.rewire(d)
	a.renewed.Store(false) // it is described anew whatever has changed
	file := a.file(gpioSetupFile)
	doc, err := gpioReadSetup(file)
	switch {
	case err != nil:
		return fmt.Errorf("read saved set-up: %w", err)
	case doc == nil:
		if err := a.apply(o, nil); err != nil {
			return fmt.Errorf("set up: %w", a.locate(err))
		}
		return nil
	}
	node, saved, err := gpioParseSaved(file, doc)
	if err == nil {
		saved.Chip = cmp.Or(saved.Chip, o.Chip)
		if err = a.apply(saved, nil); err != nil {
			err = gpioLocate(node, err)
		}
	}
	if err != nil {
		return fmt.Errorf("saved set-up: %w", err)
	}
	a.retainTotals()
	return nil
}

// gpioParseSaved reads a saved set-up.
func gpioParseSaved(file string, doc []byte) (node config.Node, saved gpioOptions, err error) {
	if node, err = config.ParseNode(file, doc); err != nil {
		return node, saved, err
	}
	if node.IsZero() {
		return node, saved, fmt.Errorf("%s is empty", file)
	}
	return node, saved, node.Decode(&saved)
}

// rewire has the agent use another log and another link, on which it watches who it did, and tells what is wrong.
func (a *gpioAgent) rewire(d Deps) {
	before := a.link
	a.deps, a.log, a.link = d, cmp.Or(d.Log, slog.New(slog.DiscardHandler)), gpioLink{}
	for about, err := range a.faults {
		if err != nil && d.Link != nil {
			d.Link.Fault(about, err)
		}
	}
	for _, stop := range before.stops {
		stop()
	}
	if d.Link == nil || before.stops == nil {
		return
	}
	a.link = gpioLink{before.down, map[string]func(){}}
	for _, topic := range slices.Sorted(maps.Keys(before.stops)) {
		stop, err := a.watch(d.Link, topic)
		if err != nil {
			a.log.Error("who controls outputs can't be watched any more, and counts as gone", "topic", topic, "err", err)
			stop = func() {}
			a.link.down[topic] = true
		}
		a.link.stops[topic] = stop
	}
	a.tellLinks()
}
