package agents

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/reports"
)

// The gpio agent switches outputs and reads inputs of one GPIO chip. Its options in the configuration file and the set-up
// document that it takes over MQTT are the same; a set-up made over MQTT is saved and goes before the file from then on.
//
// Closing it gives the lines back, and the kernel makes inputs of them: an output's level is then what its pull and the
// circuit make of it, as it is before the agent starts. So what must be off without the agent needs a resistor that says so.

func gpioFactory() Factory {
	return Factory{
		Name: "gpio",
		Doc:  "Digital outputs and inputs of a GPIO chip, set up while running.",
		Example: "chip: sim\noutputs:\n  pump_drive: {pin: 25, initial: off, pull: down}\n" +
			"inputs:\n  door: {pin: 22, pull: up, active_low: true, debounce: 5ms}\n",
		Defaults: func() Options { return &gpioOptions{} },
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*gpioOptions)
			if !ok {
				return nil, fmt.Errorf("gpio: options are a %T", o)
			}
			return newGPIO(*opts, d)
		},
	}
}

// gpioOptions are the options of the gpio agent, and its set-up document.
type gpioOptions struct {
	Chip    string                `yaml:"chip,omitempty" doc:"label, name or path of the chip; sim: one in memory; default: that of a Raspberry Pi's header"`
	Outputs map[string]gpioOutput `yaml:"outputs,omitempty" doc:"outputs by name"`
	Inputs  map[string]gpioInput  `yaml:"inputs,omitempty" doc:"inputs by name"`
}

// gpioOutput is an output in the set-up.
type gpioOutput struct {
	Pin       string      `yaml:"pin" doc:"25, GPIO25, pin22 (header position) or the line's name"`
	Initial   gpioInitial `yaml:"initial,omitempty" doc:"off, on or keep: what it is when it is taken; keep: the level that is there; default: off"`
	Pull      gpio.Bias   `yaml:"pull,omitempty" doc:"up, down or none; default: as it is"`
	ActiveLow bool        `yaml:"active_low,omitempty" doc:"on is low"`
	Drive     gpio.Drive  `yaml:"drive,omitempty" doc:"push-pull, open-drain or open-source; default: push-pull"`
}

// gpioInput is an input in the set-up.
type gpioInput struct {
	Pin       string           `yaml:"pin" doc:"25, GPIO25, pin22 (header position) or the line's name"`
	Pull      gpio.Bias        `yaml:"pull,omitempty" doc:"up, down or none; default: as it is"`
	ActiveLow bool             `yaml:"active_low,omitempty" doc:"on is low"`
	OnChange  *bool            `yaml:"on_change,omitempty" doc:"tell of edges as they come; default: true"`
	Scan      reports.Duration `yaml:"scan,omitempty" doc:"how often it is read as well; 0: not"`
	Debounce  reports.Duration `yaml:"debounce,omitempty" doc:"how long a level must last to count"`
	Edge      gpioEdge         `yaml:"edge,omitempty" doc:"both, rising or falling: which edges are told of; one alone, without scan, makes the input an event, which has no state; default: both"`
}

// gpioAgent is the gpio agent. Its seam is gpio.Chip.
type gpioAgent struct {
	deps     Deps
	log      *slog.Logger
	events   *gpioEvents
	present  gpioState
	unmet    func() ([]byte, error) // the set-up that could not be brought into force; nil: present is
	describe atomic.Pointer[reports.Service]
}

// newGPIO makes the agent. With an error it holds no line, and waits for a set-up.
func newGPIO(o gpioOptions, d Deps) (*gpioAgent, error) {
	a := &gpioAgent{deps: d, log: d.Log, events: newGPIOEvents()}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.describe.Store(&reports.Service{Function: "gpio"})
	return a, a.start(o)
}

// open opens a chip. Only "sim" means the one in memory, and nothing else ever does.
func (a *gpioAgent) open(name string) (gpio.Chip, error) {
	switch {
	case a.deps.OpenChip != nil:
		return a.deps.OpenChip(name)
	case name == gpioSim:
		return gpiotest.Sim(), nil
	}
	return gpio.Open(name)
}

// Describe returns a point for each output and input.
func (a *gpioAgent) Describe() reports.Service {
	s := *a.describe.Load()
	s.Points = slices.Clone(s.Points)
	return s
}

// Events returns the edges of the inputs.
func (a *gpioAgent) Events() <-chan reports.Reading { return a.events.out }

// Close gives all lines back.
func (a *gpioAgent) Close() error {
	err := a.present.close()
	a.events.close()
	return err
}

// Sample reads the level of a line, of an output too.
func (a *gpioAgent) Sample(ctx context.Context, path string) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	l, err := a.present.held(path)
	if err != nil {
		return reports.Reading{}, err
	}
	v, err := l.line.Value()
	if err != nil {
		return reports.Reading{}, fmt.Errorf("read %s: %w", path, err)
	}
	return reports.Reading{Path: path, Value: v == 1}, nil
}

// Apply sets an output, or carries out a control.
func (a *gpioAgent) Apply(ctx context.Context, c reports.Command) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	switch v := c.Value.(type) {
	case bool:
		if c.Verb == "set" {
			return a.set(c.Path, v)
		}
	case []byte:
		if c.Verb == "control" {
			return a.control(v)
		}
	}
	return reports.Reading{}, reports.Errorf(reports.CodeUnsupported, "gpio: %s with a %T is not known", c.Verb, c.Value)
}

// set drives an output and reads it back.
func (a *gpioAgent) set(path string, on bool) (reports.Reading, error) {
	l, err := a.present.held(path)
	if err != nil {
		return reports.Reading{}, err
	}
	if !l.wiring.output {
		return reports.Reading{}, reports.Errorf(reports.CodeReadOnly, "%s is an input", path)
	}
	want := gpioBit(on)
	if err := l.line.SetValue(want); err != nil {
		return reports.Reading{}, fmt.Errorf("set %s: %w", path, err)
	}
	l.value = want
	got, err := l.line.Value()
	switch {
	case err != nil:
		return reports.Reading{}, fmt.Errorf("read %s back: %w", path, err)
	case got != want:
		return reports.Reading{}, reports.Errorf(reports.CodeDevice, "%s was set %s but the line reads %s: something else drives it",
			path, reports.FormatValue(on), reports.FormatValue(got == 1))
	}
	return reports.Reading{Path: path, Value: on}, nil
}

// gpioControl is a control block. ID and Reply are the runner's.
type gpioControl struct {
	Verb  string      `yaml:"verb"`
	Path  string      `yaml:"path"`
	ID    config.Node `yaml:"id"`
	Reply config.Node `yaml:"reply"`
}

// control carries out {"verb":"toggle","path":…} and {"verb":"release"}, with a path or for all lines.
func (a *gpioAgent) control(doc []byte) (reports.Reading, error) {
	var c gpioControl
	node, err := config.ParseNode("control", doc)
	if err == nil {
		err = node.Decode(&c)
	}
	if err != nil {
		return reports.Reading{}, reports.Errorf(reports.CodeBadPayload, "%w", err)
	}
	switch strings.ToLower(c.Verb) {
	case "toggle":
		l, err := a.present.held(c.Path)
		if err != nil {
			return reports.Reading{}, err
		}
		return a.set(c.Path, l.value == 0)
	case "release":
		return reports.Reading{}, a.present.release(c.Path)
	}
	return reports.Reading{}, reports.Errorf(reports.CodeUnsupported, "verb %.40q is not known; known are release, toggle", c.Verb)
}

func gpioBit(on bool) int {
	if on {
		return 1
	}
	return 0
}
