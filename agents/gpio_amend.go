package agents

import (
	"fmt"

	"rollcall/config"
	"rollcall/gpio/original"
	"rollcall/reports"
)

// What is added to a set-up that is in force must not take away what protects somebody there: of a name that there is, the keys stay
// that the addition does not say. As another kind it would lose those that the new kind can't have, and is refused.

// gpioAmend adds outputs, or inputs and so on, to a set-up, where those of their kind are as.
func gpioAmend[T any](o *gpioOptions, kind string, add map[string]config.Node, as map[string]T) error {
	for name, node := range add {
		if err := o.replace(name, kind); err != nil {
			return reports.Errorf(reports.CodeBadSetup, "%w", node.Errorf("", "%w", err))
		}
		entry := as[name]
		if err := node.Decode(&entry); err != nil {
			return reports.Errorf(reports.CodeBadPayload, "%w", err)
		}
		as[name] = entry
	}
	return nil
}

// replace takes a name out of the set-up where it is of another kind, unless that has keys which are of no other.
func (o *gpioOptions) replace(name, kind string) error {
	was, keys := "", ""
	if out, ok := o.Outputs[name]; ok && kind != "output" {
		was, keys = "output", out.ownKeys()
	}
	if in, ok := o.Inputs[name]; ok && kind != "input" {
		was, keys = "input", in.ownKeys()
	}
	if p, ok := o.PWM[name]; ok && kind != "pwm" {
		was, keys = "pwm", p.ownKeys()
	}
	if s, ok := o.Servos[name]; ok && kind != "servo" {
		was, keys = "servo", s.ownKeys()
	}
	switch {
	case was == "":
		return nil
	case keys != "":
		return fmt.Errorf("%s/%s has %s, which as %s it can't have: send a set-up", was, name, keys, kind)
	}
	delete(o.Outputs, name)
	delete(o.Inputs, name)
	delete(o.PWM, name)
	delete(o.Servos, name)
	return nil
}

// ownKeys returns the keys that say something which nothing else can have.
func (p gpioPWM) ownKeys() string {
	return gpioSaying([]gpioKey{{"min", p.Min != 0}, {"max", p.Max != nil}, {"gamma", p.Gamma != 0}, {"fade", p.Fade != 0}, {"safe", p.Safe != 0},
		{"initial", p.Initial != 0}, {"driver", p.Driver != ""}, {"period", p.Period != 0}, {"failsafe", p.Failsafe != nil}})
}

// ownKeys returns the keys that say something which nothing else can have.
func (s gpioServo) ownKeys() string {
	return gpioSaying([]gpioKey{{"initial", s.Initial != nil}, {"min_angle", s.MinAngle != 0}, {"max_angle", s.MaxAngle != nil}, {"min_pulse", s.MinPulse != 0},
		{"max_pulse", s.MaxPulse != 0}, {"period", s.Period != 0}, {"driver", s.Driver != ""}})
}

// add adds a block of the original to the set-up. What it does not say of a name that there is stays.
func (o *gpioOptions) add(b original.Block) error {
	if err := o.replace(b.Name, string(b.Kind)); err != nil {
		return err
	}
	says := func(key string) bool { return b.Says[key] != 0 }
	switch b.Kind {
	case original.Output:
		o.Outputs[b.Name] = o.Outputs[b.Name].said(b, says)
	case original.PWM:
		o.PWM[b.Name] = o.PWM[b.Name].said(b, says)
	case original.Input:
		o.Inputs[b.Name] = o.Inputs[b.Name].said(b, says)
	}
	return nil
}

// gpioSaid sets a key to what a block says, if it says it.
func gpioSaid[T any](key *T, said bool, value T) {
	if said {
		*key = value
	}
}

// said returns the output with what a block says.
func (o gpioOutput) said(b original.Block, says func(string) bool) gpioOutput {
	o.Pin = b.Pin
	gpioSaid(&o.Initial, says("init"), gpioInitial(b.Initial))
	gpioSaid(&o.Pull, says("pull"), b.Pull)
	gpioSaid(&o.ActiveLow, says("pol"), b.Inverted)
	gpioSaid(&o.Drive, says("drive"), b.Drive)
	gpioSaid(&o.Single, says("single"), b.Single)
	gpioSaid(&o.Pulse, says("pulse"), reports.Duration(b.Pulse))
	gpioSaid(&o.MaxOn, says("max_on"), reports.Duration(b.MaxOn))
	return o
}

// said returns the modulated output with what a block says.
func (p gpioPWM) said(b original.Block, says func(string) bool) gpioPWM {
	p.Pin = b.Pin
	polarity := gpioPolarity("")
	if b.Inverted {
		polarity = gpioInverted
	}
	gpioSaid(&p.Polarity, says("pol"), polarity)
	gpioSaid(&p.Initial, says("init"), b.Percent)
	gpioSaid(&p.Period, says("period"), reports.Duration(b.Period))
	return p
}

// said returns the input with what a block says. What is no, or 0, is so by default, but not of every preset.
func (i gpioInput) said(b original.Block, says func(string) bool) gpioInput {
	i.Pin = b.Pin
	debounce := reports.Duration(b.Debounce)
	gpioSaid(&i.Pull, says("pull"), b.Pull)
	gpioSaid(&i.OnChange, says("on_change"), gpioOnChange(b.OnChange))
	gpioSaid(&i.Scan, says("scan"), reports.Duration(b.Scan))
	gpioSaid(&i.Edge, says("edge"), gpioEdge(b.Edge))
	gpioSaid(&i.ActiveLow, says("pol"), gpioUnless(i, b.Inverted))
	gpioSaid(&i.Count, says("count"), gpioUnless(i, b.Count))
	gpioSaid(&i.Debounce, says("debounce"), gpioUnless(i, debounce))
	return i
}

// gpioUnless returns a value of an input, or nil where it is the default anyway.
func gpioUnless[T comparable](i gpioInput, value T) *T {
	var zero T
	if i.As == "" && value == zero {
		return nil
	}
	return &value
}
