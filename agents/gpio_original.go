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

// addBlocks adds text blocks to the set-up: what they name is there then as they say, and all else as it was.
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
		o.add(b)
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

// addPart adds a part of a set-up document to the set-up: its outputs, inputs and so on, each whole, and its interlocks in the
// place of all others.
func (a *gpioAgent) addPart(node config.Node) error {
	part, err := a.base()
	if err != nil {
		return err
	}
	// Whether its interlocks name outputs is seen when it is part of the whole.
	loose := struct {
		Chip       *config.Node          `yaml:"chip"`
		Outputs    map[string]gpioOutput `yaml:"outputs"`
		Inputs     map[string]gpioInput  `yaml:"inputs"`
		PWM        map[string]gpioPWM    `yaml:"pwm"`
		Servos     map[string]gpioServo  `yaml:"servos"`
		Interlocks *[][]string           `yaml:"interlocks"`
		DeadTime   *reports.Duration     `yaml:"dead_time"`
		ID         config.Node           `yaml:"id"`
		Reply      config.Node           `yaml:"reply"`
	}{}
	if err := node.Decode(&loose); err != nil {
		return reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	if loose.Chip != nil {
		return reports.Errorf(reports.CodeBadSetup, "%w", node.Errorf("chip", "another chip needs a whole set-up"))
	}
	for name, v := range loose.Outputs {
		part.drop(name)
		part.Outputs[name] = v
	}
	for name, v := range loose.Inputs {
		part.drop(name)
		part.Inputs[name] = v
	}
	for name, v := range loose.PWM {
		part.drop(name)
		part.PWM[name] = v
	}
	for name, v := range loose.Servos {
		part.drop(name)
		part.Servos[name] = v
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

// drop takes a name out of the set-up, whatever it is.
func (o *gpioOptions) drop(name string) {
	delete(o.Outputs, name)
	delete(o.Inputs, name)
	delete(o.PWM, name)
	delete(o.Servos, name)
}

// add adds a block of the original to the set-up.
func (o *gpioOptions) add(b original.Block) {
	o.drop(b.Name)
	switch b.Kind {
	case original.Output:
		o.Outputs[b.Name] = gpioOutput{Pin: b.Pin, Initial: gpioInitial(b.Initial), Pull: b.Pull, ActiveLow: b.Inverted, Drive: b.Drive,
			Single: b.Single, Pulse: reports.Duration(b.Pulse), MaxOn: reports.Duration(b.MaxOn)}
	case original.PWM:
		p := gpioPWM{Pin: b.Pin, Initial: b.Percent, Period: reports.Duration(b.Period)}
		if b.Inverted {
			p.Polarity = gpioInverted
		}
		o.PWM[b.Name] = p
	case original.Input:
		in := gpioInput{Pin: b.Pin, Pull: b.Pull, OnChange: gpioOnChange(b.OnChange), Scan: reports.Duration(b.Scan), Edge: gpioEdge(b.Edge)}
		if b.Inverted {
			in.ActiveLow = &b.Inverted
		}
		if b.Count {
			in.Count = &b.Count
		}
		if b.Debounce != 0 {
			d := reports.Duration(b.Debounce)
			in.Debounce = &d
		}
		o.Inputs[b.Name] = in
	}
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
