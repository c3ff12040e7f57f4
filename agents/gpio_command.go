package agents

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/gpio/original"
	"rollcall/gpio/output"
	"rollcall/reports"
)

// set carries out a set.
func (a *gpioAgent) set(c reports.Command) (r reports.Reading, err error) {
	kind, name, _ := strings.Cut(c.Path, "/")
	lasts, err := lastsOf(c.Args)
	if err != nil {
		return reports.Reading{}, err
	}
	over, err := fadeOf(c.Args)
	if err != nil {
		return reports.Reading{}, err
	}
	if c.Path == gpioInputsPath || c.Path == gpioOutputsPath {
		return a.turn(c.Path, c.Value)
	}
	if c.Value == reports.Toggle {
		r, err = a.toggle(c.Path, lasts)
		r.Path = c.Path
		return r, err
	}
	switch v := c.Value.(type) {
	case bool:
		r, err = a.setOutput(c.Path, v, lasts)
	case float64:
		r, err = a.setMod(c.Path, v, over)
	case int64:
		r, err = a.setTotal(name, v)
	case string:
		if kind == "blink" {
			r, err = a.setPattern("output/"+name, v)
			break
		}
		err = gpioUnknownSet(c)
	default:
		err = gpioUnknownSet(c)
	}
	r.Path = c.Path
	return r, err
}

// gpioOwnFade is how long a change takes where the command does not say: what the set-up says.
const gpioOwnFade time.Duration = -1

// lastsOf reads the argument of a set that says how long it is to last; 0: for good.
func lastsOf(args map[string]any) (time.Duration, error) {
	text, ok, err := gpioArg(args, gpioArgFor)
	if !ok || err != nil {
		return 0, err
	}
	var f gpioFor
	if err := f.UnmarshalText([]byte(text)); err != nil {
		return 0, reports.Errorf(reports.CodeBadPayload, "%s: %w", gpioArgFor, err)
	}
	return time.Duration(f), nil
}

// fadeOf reads the argument of a set that says how long the change is to take; 0: at once.
func fadeOf(args map[string]any) (time.Duration, error) {
	text, ok, err := gpioArg(args, gpioArgFade)
	if !ok || err != nil {
		return gpioOwnFade, err
	}
	d, err := gpioLasting(text)
	if err == nil && (d < 0 || d > gpioMostFade) {
		err = fmt.Errorf("%.40q is not from 0 to %s", text, reports.Duration(gpioMostFade))
	}
	if err != nil {
		return 0, reports.Errorf(reports.CodeBadPayload, "%s: %w", gpioArgFade, err)
	}
	return d, nil
}

// gpioArg returns the text of an argument.
func gpioArg(args map[string]any, key string) (text string, ok bool, err error) {
	v, ok := args[key]
	switch v := v.(type) {
	case string:
		text = v
	case json.Number:
		text = v.String()
	case float64, int, int64:
		text = fmt.Sprint(v)
	}
	if ok && text == "" {
		return "", true, reports.Errorf(reports.CodeBadPayload, "%s: it is neither a text nor a number", key)
	}
	return text, ok, nil
}

func gpioUnknownSet(c reports.Command) error {
	return reports.Errorf(reports.CodeUnsupported, "gpio: %s with a %T is not known", c.Verb, c.Value)
}

// gpioControl is a control block. ID and Reply are the runner's.
type gpioControl struct {
	Verb    string      `yaml:"verb"`
	Path    string      `yaml:"path"`
	For     gpioFor     `yaml:"for"`
	Pattern string      `yaml:"pattern"`
	ID      config.Node `yaml:"id"`
	Reply   config.Node `yaml:"reply"`
}

// gpioSections are the keys of a set-up document. A control block with one of them, and no verb, adds to the set-up.
var gpioSections = [...]string{"outputs", "inputs", "pwm", "servos", "interlocks", "dead_time"}

// control carries out a verb, or adds what the original's text blocks or a part of a set-up document say to the set-up.
func (a *gpioAgent) control(doc []byte) (reports.Reading, error) {
	if original.IsBlocks(doc) {
		return reports.Reading{}, a.addBlocks(doc)
	}
	node, err := config.ParseNode("control", doc)
	if err != nil {
		return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	if _, err := node.Entries(); err != nil {
		return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "%w: a control has keys (verb: toggle), is a part of a set-up (outputs: …), or text blocks, "+
			"of which the first line is output, pwm or input", err)
	}
	if original.IsPins(doc) {
		return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "control: a map of pins is a whole set-up: send it to setup")
	}
	if !node.Has("verb") {
		part, err := gpioIsPart(node)
		if err != nil {
			return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "%w", err)
		}
		if part {
			return reports.Reading{}, a.addPart(node)
		}
	}
	var c gpioControl
	if err := node.Decode(&c); err != nil {
		return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	verbs := map[string]func() (reports.Reading, error){
		"toggle":  func() (reports.Reading, error) { return a.toggle(c.Path, 0) },
		"pulse":   func() (reports.Reading, error) { return a.pulse(c.Path, time.Duration(c.For)) },
		"blink":   func() (reports.Reading, error) { return a.blink(c.Path, orBlink(c.Pattern)) },
		"release": func() (reports.Reading, error) { return reports.Reading{}, a.release(c.Path) },
	}
	verb := strings.ToLower(c.Verb)
	do, ok := verbs[verb]
	switch {
	case !ok:
		return reports.Reading{}, reports.Errorf(reports.CodeUnsupported, "verb %.40q is not known; known are %s", c.Verb,
			strings.Join(slices.Sorted(maps.Keys(verbs)), ", "))
	case c.For != 0 && verb != "pulse":
		return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "for is for pulse; a set takes it as well")
	case c.Pattern != "" && verb != "blink":
		return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "pattern is for blink")
	}
	return do()
}

// gpioIsPart reports whether a control block is a part of a set-up document. A section in which nothing stands is refused: it would
// change nothing, whatever was meant.
func gpioIsPart(node config.Node) (part bool, err error) {
	entries, _ := node.Entries() // what is no map has none, and is refused for that
	for _, e := range entries {
		if !slices.Contains(gpioSections[:], e.Key) {
			continue
		}
		if e.Value.IsZero() {
			return false, node.Errorf(e.Key, "nothing stands there to be added to the set-up")
		}
		part = true
	}
	return part, nil
}

// orBlink returns the pattern, or the one that is called as the verb is.
func orBlink(pattern string) string {
	if pattern == "" {
		return "blink"
	}
	return pattern
}

// release gives a line back, an output with its safe value, or with "" all, until a set-up takes them again. To what is to be restored
// that counts as OFF, but where on is safe: whoever wanted it on does not have it any more.
func (a *gpioAgent) release(path string) error {
	if path != "" {
		if _, err := a.present.held(path); err != nil {
			return err
		}
	}
	if a.bank == nil {
		return nil // nothing was ever taken
	}
	var errs []error
	for _, l := range a.present.lines {
		if (path != "" && path != l.path) || !l.hold.held() {
			continue
		}
		a.keepCount(l)
		errs = append(errs, l.rest(), l.release())
		if l.out != nil {
			errs = append(errs, a.bank.Set(l.name, false, 0, time.Now()))
			a.kept.set(l, l.out.Safe == gpioSafeOn)
		}
	}
	a.drive() // takes them for off from now on
	errs = append(errs, a.forget())
	a.redescribe()
	a.renewed.Store(true)
	return errors.Join(errs...)
}

// forget takes the rules of what was released out of the bank. The outputs stay in it, off, for those that they are interlocked
// with have to wait for their dead time.
func (a *gpioAgent) forget() error {
	left := gpioState{options: a.present.options}
	keep := map[string]output.Was{}
	for _, l := range a.present.lines {
		switch {
		case !l.hold.held() && l.out != nil:
			left.lines = append(left.lines, &gpioLine{name: l.name, out: &gpioOutput{}})
			keep[l.name] = output.Was{Name: l.name, Kept: true}
		case l.hold.held():
			left.lines = append(left.lines, l)
			if l.out != nil || l.limited() {
				keep[l.name] = output.Was{Name: l.name, Kept: true}
			}
		}
	}
	specs, groups := left.rules()
	bank, err := a.bank.Replace(specs, groups, keep, time.Now())
	if err != nil {
		return err
	}
	a.bank = bank
	return nil
}
