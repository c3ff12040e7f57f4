package agents

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/config"
	"rollcall/gpio"
	"rollcall/gpio/gpiotest"
	"rollcall/gpio/input"
	"rollcall/gpio/output"
	"rollcall/reports"
)

// The gpio agent switches outputs, reads and counts inputs, and modulates lamps, motors and servos on one GPIO chip. Its options in
// the configuration file and the set-up document that it takes over MQTT are the same; a set-up made over MQTT is saved and goes
// before the file from then on.
//
// One at a time has everything: lines, timers, machines. It is the runner's goroutine during a call, the chip's for an edge, and
// otherwise a goroutine of the agent's own, the engine, which does what is due. The chip and the connection must not wait, and leave
// what they have in an inbox if somebody else is at it.
//
// Closing it drives every output to its safe value and gives the lines back, and the kernel makes inputs of them: a level is then
// what its pull and the circuit make of it, as it is before the agent starts. So what must be off without the agent needs a
// resistor that says so.

func gpioFactory() Factory {
	return Factory{
		Name:   "gpio",
		Doc:    "Outputs, inputs, counters, PWM and servos of a GPIO chip, set up while running.",
		Wiring: gpioConnecting,
		Example: "chip: sim\noutputs:\n  pump_drive: {pin: 25, initial: off, pull: down, max_on: 30s}\n  lamp: {pin: 24, as: led}\n" +
			"inputs:\n  door: {pin: 22, as: door}\n  water: {pin: 27, as: meter}\npwm:\n  fan: {pin: 18, initial: 20}\nservos:\n  vent: {pin: 12, initial: 90}\n",
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

// gpioConnecting is Factory.Wiring.
const gpioConnecting = `Outputs and inputs hang on lines of the header, by GPIO number (` + "`25`" + `, ` + "`GPIO25`" + `) or position (` + "`pin22`" + `);
` + "`udpsrv get HOST/gpio/chip`" + ` prints which is where and who holds it. A line of a Raspberry Pi bears 3.3 V and about 16 mA: relays,
valves and lamps go behind a transistor or a relay board, and what gives 5 V behind a divider or a level shifter.

A button or contact goes from the line to ground with ` + "`pull: up`" + ` (then it is low when pressed, as ` + "`as: button`" + ` expects), or to 3.3 V with
` + "`pull: down`" + `. PWM in hardware needs ` + "`dtoverlay=pwm`" + ` in /boot/firmware/config.txt. The user must be in the group gpio. More is in
[gpio.md](../gpio.md).`

// gpioAgent is the gpio agent. Its seams are gpio.Chip and the files below Deps.Root.
type gpioAgent struct {
	deps     Deps
	log      *slog.Logger
	describe atomic.Pointer[reports.Service]
	renewed  atomic.Bool           // the description has changed, and not by Setup
	why      atomic.Pointer[error] // the events have ended
	out      chan reports.Reading
	inbox    gpioInbox
	done     chan struct{}                       // closed when the engine has ended
	write    func(file string, doc []byte) error // config.Save, but in tests

	mu       sync.Mutex // of who has the agent, and so all of the following
	armed    time.Time  // when the engine wakes; zero: not by itself
	deadline time.Time  // of the call that has the agent; zero: none
	clock    time.Time  // the last time that was given out
	present  gpioState
	unmet    func() ([]byte, error) // the set-up that could not be brought into force; nil: present is
	unmetIn  string                 // where that stands
	bank     *output.Bank
	queue    gpioQueue
	totals   *input.Totals
	told     gpioTold
	faults   map[string]error // what stands on the error topic
	kept     gpioKept
	link     gpioLink
	saver    gpioSaver
	prepared [][2]int // channels of the hardware that need not be waited for in this call
	lost     int64    // edges
	gone     bool     // the chip was unplugged
	ended    bool     // the events have ended, or are about to
	closed   bool
}

// newGPIO makes the agent. With an error it holds no line, and waits for a set-up.
func newGPIO(o gpioOptions, d Deps) (*gpioAgent, error) {
	a := &gpioAgent{deps: d, log: d.Log, out: make(chan reports.Reading, gpioEventsReady), done: make(chan struct{}),
		write: config.Save}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.inbox.wake = make(chan struct{}, 1)
	a.describe.Store(&reports.Service{Function: "gpio"})
	go a.run() // until Close, which waits for it
	var err error
	if callErr := a.do(context.Background(), func() { err = a.start(o) }); callErr != nil {
		err = callErr
	}
	return a, err
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

// Describe returns the points of each output, input, PWM and servo, and those of the service itself.
func (a *gpioAgent) Describe() reports.Service {
	s := *a.describe.Load()
	s.Points = slices.Clone(s.Points)
	return s
}

// Renewed reports whether Describe says something else since the last call, and not because of Setup.
func (a *gpioAgent) Renewed() bool { return a.renewed.Swap(false) }

// Events returns the edges of the inputs, and what timers, interlocks and failsafes did to the outputs.
func (a *gpioAgent) Events() <-chan reports.Reading { return a.out }

// Err returns why the events have ended before Close.
func (a *gpioAgent) Err() error {
	if err := a.why.Load(); err != nil {
		return *err
	}
	return nil
}

// Close leaves the outputs safe and gives all lines back.
func (a *gpioAgent) Close() error {
	var err error
	if a.do(context.Background(), func() { err = a.close() }) != nil {
		return nil // closed already
	}
	<-a.done
	return err
}

// Sample reads a point.
func (a *gpioAgent) Sample(ctx context.Context, path string) (r reports.Reading, err error) {
	callErr := a.do(ctx, func() { r, err = a.sample(path) })
	if callErr != nil {
		return reports.Reading{}, callErr
	}
	return r, err
}

// Prompt says that Apply does not wait: lines are switched at once, and states are saved by a goroutine of their own. Exceptions are a
// change of the set-up, and what is answered once it is saved.
func (a *gpioAgent) Prompt() {}

// Toggles says that the agent carries out TOGGLE itself: of an output that waits for its interlock it is OFF.
func (a *gpioAgent) Toggles() {}

// Apply carries out a set or a control.
func (a *gpioAgent) Apply(ctx context.Context, c reports.Command) (r reports.Reading, err error) {
	var wait gpioWait
	err = a.doPrepared(ctx, func() error {
		var err error
		wait = a.waits()
		switch block, ok := c.Value.([]byte); {
		case c.Verb == "set":
			r, err = a.set(c)
		case c.Verb == "control" && ok:
			r, err = a.control(block)
		default:
			err = reports.Errorf(reports.CodeUnsupported, "gpio: %s with a %T is not known", c.Verb, c.Value)
		}
		if err == nil {
			wait.done(a, r.Path)
		}
		return err
	})
	if err == nil {
		err = a.await(ctx, wait, r)
	}
	return r, err
}

// Setup brings a set-up document into force and saves it, or changes nothing. A line whose wiring stays the same is not
// touched and keeps its level, also when only its initial level is another: that counts when a line is taken.
func (a *gpioAgent) Setup(ctx context.Context, doc []byte) error {
	return a.doPrepared(ctx, func() error { return a.setup(doc) })
}

// CurrentSetup returns the set-up in force as a document, or the one that could not be brought into force.
func (a *gpioAgent) CurrentSetup() (doc []byte, err error) {
	if callErr := a.do(context.Background(), func() { doc, err = a.currentSetup() }); callErr != nil {
		return nil, callErr
	}
	return doc, err
}
