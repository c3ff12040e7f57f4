package agents

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/gpio/original"
	"rollcall/reports"
)

// setup takes a whole set-up: a document, or the original's map of pins.
func (a *gpioAgent) setup(doc []byte) error {
	if original.IsPins(doc) {
		blocks, err := original.ParsePins(doc)
		if err != nil {
			return reports.Errorf(reports.CodeBadSetup, "%w", gpioNamed("setup", err))
		}
		return a.changeBlocks("setup", gpioOptions{}, blocks)
	}
	if original.IsBlocks(doc) {
		return reports.Errorf(reports.CodeBadSetup, "setup: text blocks add to the set-up: send them to control; a whole set-up is YAML or JSON (outputs: …)")
	}
	node, err := config.ParseNode("setup", doc)
	var o gpioOptions
	if err == nil {
		err = node.Decode(&o)
	}
	switch {
	case err != nil:
		return reports.Errorf(reports.CodeBadSetup, "%w", err)
	case node.IsZero():
		return reports.Errorf(reports.CodeBadSetup, "setup: the document is empty; {} gives all lines back")
	}
	return a.change(o, func(err error) error { return gpioLocate(node, err) })
}

// gpioNamed gives an error of a document its name.
func gpioNamed(name string, err error) error {
	if e, ok := errors.AsType[*config.Error](err); ok {
		named := *e
		named.File = name
		return &named
	}
	return fmt.Errorf("%s: %w", name, err)
}

// addBlocks adds text blocks to the set-up: what they name is there then as they say, and all else as it was, keys of theirs included.
func (a *gpioAgent) addBlocks(doc []byte) error {
	blocks, err := original.Parse(doc)
	if err != nil {
		return reports.Errorf(reports.CodeBadPayload, "%w", gpioNamed("control", err))
	}
	o, err := a.base()
	if err != nil {
		return err
	}
	return a.changeBlocks("control", o, blocks)
}

// changeBlocks brings options with blocks added to them into force.
func (a *gpioAgent) changeBlocks(doc string, o gpioOptions, blocks []original.Block) error {
	o = o.clone()
	lines := map[string]int{}
	for _, b := range blocks {
		lines[b.Name] = b.Line
		if err := o.add(b); err != nil {
			return reports.Errorf(reports.CodeBadSetup, "%w", &config.Error{File: doc, Line: b.Line, Text: err.Error(), Err: err})
		}
	}
	// What is wrong with a block is said with its line.
	place := func(at string, err error) error {
		_, rest, _ := strings.Cut(at, ".")
		name, _, _ := strings.Cut(rest, ".")
		return &config.Error{File: doc, Line: lines[name], Text: at + ": " + err.Error(), Err: err}
	}
	if err := o.Validate(); err != nil {
		at, _, _ := strings.Cut(err.Error(), ": ")
		text := place(at, err).(*config.Error)
		text.Text = err.Error()
		return reports.Errorf(reports.CodeBadSetup, "%w", text)
	}
	err := a.change(o, func(err error) error {
		f, _ := errors.AsType[*gpioFault](err)
		return place(f.at, f.err)
	})
	if err == nil {
		a.renewed.Store(doc != "setup")
	}
	return err
}

// addPart adds a part of a set-up document to the set-up: its outputs, inputs and so on, which keep what it does not say of them, and
// its interlocks in the place of all others.
func (a *gpioAgent) addPart(node config.Node) error {
	part, err := a.base()
	if err != nil {
		return err
	}
	// Whether its interlocks name outputs is seen when it is part of the whole.
	loose := struct {
		Chip       *config.Node           `yaml:"chip"`
		Outputs    map[string]config.Node `yaml:"outputs"`
		Inputs     map[string]config.Node `yaml:"inputs"`
		PWM        map[string]config.Node `yaml:"pwm"`
		Servos     map[string]config.Node `yaml:"servos"`
		Interlocks *[][]string            `yaml:"interlocks"`
		DeadTime   *reports.Duration      `yaml:"dead_time"`
		ID         config.Node            `yaml:"id"`
		Reply      config.Node            `yaml:"reply"`
	}{}
	if err := node.Decode(&loose); err != nil {
		return reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	if loose.Chip != nil {
		return reports.Errorf(reports.CodeBadSetup, "%w", node.Errorf("chip", "another chip needs a whole set-up"))
	}
	for _, err := range []error{
		gpioAmend(&part, "output", loose.Outputs, part.Outputs),
		gpioAmend(&part, "input", loose.Inputs, part.Inputs),
		gpioAmend(&part, "pwm", loose.PWM, part.PWM),
		gpioAmend(&part, "servo", loose.Servos, part.Servos),
	} {
		if err != nil {
			return err
		}
	}
	if loose.Interlocks != nil {
		part.Interlocks = *loose.Interlocks
	}
	part.DeadTime = orDefault(loose.DeadTime, part.DeadTime)
	if err := part.Validate(); err != nil {
		at, why, _ := strings.Cut(err.Error(), ": ")
		return reports.Errorf(reports.CodeBadSetup, "%w", node.Errorf(at, "%s", why))
	}
	err = a.change(part, func(err error) error { return gpioLocate(node, err) })
	if err == nil {
		a.renewed.Store(true)
	}
	return err
}

// clone returns options whose maps are their own.
func (o gpioOptions) clone() gpioOptions {
	o.Outputs, o.Inputs, o.PWM, o.Servos = cloneMap(o.Outputs), cloneMap(o.Inputs), cloneMap(o.PWM), cloneMap(o.Servos)
	o.Interlocks = slices.Clone(o.Interlocks)
	return o
}

func cloneMap[T any](m map[string]T) map[string]T {
	if m == nil {
		return map[string]T{}
	}
	return maps.Clone(m)
}

// turn makes inputs or outputs of the lines of the names, and saves that. Those that are so already stay as they are. One whose
// set-up says what the other kind can't have is refused, since that would be lost.
func (a *gpioAgent) turn(path string, v any) (reports.Reading, error) {
	names, err := reports.Names(v)
	if err != nil {
		return reports.Reading{}, err
	}
	o, err := a.base()
	if err != nil {
		return reports.Reading{}, err
	}
	for _, name := range names {
		in, isIn := o.Inputs[name]
		out, isOut := o.Outputs[name]
		switch {
		case !isIn && !isOut:
			return reports.Reading{}, reports.Errorf(reports.CodeUnknown, "%.80q is no output and no input", name)
		case isIn && path == gpioOutputsPath:
			if keys := in.ownKeys(); keys != "" {
				return reports.Reading{}, reports.Errorf(reports.CodeBadSetup, "input/%s has %s, which an output can't have: send a set-up", name, keys)
			}
			delete(o.Inputs, name)
			o.Outputs[name] = gpioOutput{Pin: in.Pin, Label: in.Label, Pull: in.Pull, ActiveLow: in.resolved().activeLow}
		case isOut && path == gpioInputsPath:
			if keys := out.ownKeys(); keys != "" {
				return reports.Reading{}, reports.Errorf(reports.CodeBadSetup, "output/%s has %s, which an input can't have: send a set-up", name, keys)
			}
			delete(o.Outputs, name)
			turned := gpioInput{Pin: out.Pin, Label: out.Label, Pull: out.Pull}
			if out.ActiveLow {
				turned.ActiveLow = &out.ActiveLow
			}
			o.Inputs[name] = turned
		}
	}
	if err := o.Validate(); err != nil {
		return reports.Reading{}, reports.Errorf(reports.CodeBadSetup, "%w", err)
	}
	if err := a.change(o, func(err error) error { return err }); err != nil {
		return reports.Reading{}, err
	}
	a.renewed.Store(true)
	value, err := a.value(path)
	return reports.Reading{Path: path, Value: value, Time: a.stamp(time.Now())}, err
}
