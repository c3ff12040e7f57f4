package agents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The display agent drives a TM1638, as it is on the module LED&KEY: eight digits of seven segments, eight LEDs, eight buttons. The
// digits are two displays of four, dsp1 on the left and dsp2 on the right; a text that is too long for dsp1 goes on in dsp2.
//
// Programs of before know three topics, which stand beside the points: what comes in on /display and /dcontrol is shown, and what
// the buttons become goes out on /dbuts.

func displayFactory() Factory {
	return Factory{
		Name:    "display",
		Doc:     "A TM1638 display: eight digits, eight LEDs and eight buttons on three wires.",
		Wiring:  displayWiring,
		Example: "sim: true\nbrightness: 4\n",
		Defaults: func() Options {
			return &displayOptions{Scan: reports.Duration(50 * time.Millisecond), Poll: reports.Duration(10 * time.Second), Brightness: 4,
				Topics: displayTopics{Display: "/display", Buts: "/dbuts", Control: "/dcontrol"}}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*displayOptions)
			if !ok {
				return nil, fmt.Errorf("display: options are a %T", o)
			}
			return newDisplay(*opts, d)
		},
	}
}

// displayWiring is Factory.Wiring.
const displayWiring = `STB, CLK and DIO of the module on any three GPIO lines, such as GPIO17 (pin11), GPIO27 (pin13) and GPIO22 (pin15): ` + "`stb: 17, clk: 27, dio: 22`" + `;
GND on ground (pin9).

VCC on 3.3 V (pin1), although the data sheet asks for 5 V: the module pulls DIO up to its VCC, and a Raspberry Pi's lines bear no
more than 3.3 V. The usual red LEDs are bright enough with it. With 5 V a level shifter for open-drain lines belongs between them.

No dtoverlay is needed. The user must be in the group gpio, which may open /dev/gpiochip*. Kernel 5.5 or later, or ` + "`scan: 0s`" + ` without
buttons.

Other programs may use ` + "`/display`" + ` (a text of eight digits, or lines or JSON with dsp1, dsp2, led0 … led7, brightness), ` + "`/dcontrol`" + ` (the
same, and the words on, off and clear) and ` + "`/dbuts`" + ` (what the buttons are, as {"buts":5} when the first and the third are down).`

// displayLeastScan is about what a look at the keys takes on a slow Raspberry Pi, ten times over.
const displayLeastScan = 10 * time.Millisecond

// displayOptions are the options of the display agent.
type displayOptions struct {
	Chip       string           `yaml:"chip" doc:"label, name or path of the GPIO chip; default: that of a Raspberry Pi's header"`
	STB        string           `yaml:"stb" doc:"the line of STB: 17, GPIO17, pin11 (header position) or the line's name"`
	CLK        string           `yaml:"clk" doc:"the line of CLK"`
	DIO        string           `yaml:"dio" doc:"the line of DIO"`
	Scan       reports.Duration `yaml:"scan" doc:"how often the buttons are looked at; 0s: never, and nobody can tell whether the display is there"`
	Poll       reports.Duration `yaml:"poll" doc:"how often the points are read and all is shown anew, for a display that had no power for a moment"`
	Brightness int              `yaml:"brightness" doc:"at the start, from 0 (off) to 8"`
	Topics     displayTopics    `yaml:"topics" doc:"what programs know that speak to the display itself; empty: none"`
	Sim        bool             `yaml:"sim" doc:"a display in memory instead of hardware; only when asked for"`
}

// displayTopics are topics that stand beside the points.
type displayTopics struct {
	Display string `yaml:"display" doc:"takes texts, or lines or JSON with dsp1, dsp2, led0 to led7 and brightness"`
	Buts    string `yaml:"buts" doc:"says what the buttons are, as {\"buts\":5}, whenever that changes"`
	Control string `yaml:"control" doc:"takes the same lines and JSON as display, and the words on, off and clear"`
}

// Validate checks the options without the hardware.
func (o *displayOptions) Validate() error {
	for key, every := range map[string]time.Duration{"scan": time.Duration(o.Scan), "poll": time.Duration(o.Poll)} {
		if every < displayLeastScan && (key != "scan" || every != 0) {
			return config.At(key, "%s is too often, at least %s is needed", every, displayLeastScan)
		}
	}
	if o.Brightness < 0 || o.Brightness > tm1638Brightest {
		return config.At("brightness", "%d is not from 0 to %d", o.Brightness, tm1638Brightest)
	}
	for _, l := range [][2]string{{"stb", o.STB}, {"clk", o.CLK}, {"dio", o.DIO}} {
		key, pin := l[0], strings.ToLower(l[1])
		switch {
		case o.Sim && pin != "":
			return config.At(key, "a display that is made up (sim) has no lines")
		case o.Sim:
		case pin == "":
			return config.At(key, "the line must be named, such as 17, GPIO17 or pin11")
		}
	}
	if err := checkPins(o.Chip, sensorPin{at: "stb", pin: o.STB}, sensorPin{at: "clk", pin: o.CLK}, sensorPin{at: "dio", pin: o.DIO}); err != nil {
		return err
	}
	seen := map[string]string{}
	for _, t := range [][2]string{{"buts", o.Topics.Buts}, {"control", o.Topics.Control}, {"display", o.Topics.Display}} {
		key, topic := "topics."+t[0], t[1]
		if topic == "" {
			continue
		}
		if err := reports.ValidTopic(topic); err != nil {
			return config.At(key, "%w", err)
		}
		if other := seen[topic]; other != "" {
			return config.At(key, "is the topic of %s already", other)
		}
		seen[topic] = t[0]
	}
	return nil
}

// display is the agent. Its seam is displayBus. What Apply and the scan do with it takes a millisecond or two, under the lock.
type display struct {
	*sensor
	o      displayOptions
	log    *slog.Logger
	link   Link
	events chan reports.Reading
	inbox  chan displayMessage // what came in on the topics of others
	quit   context.CancelFunc
	over   chan struct{} // closed when run has ended
	stops  []func()

	mu    sync.Mutex
	bus   displayBus
	is    displayState
	shown *tm1638Memory // what the chip has; nil: nobody knows
	keys  uint32
	fault error // why the chip is not there
	died  error // why run has ended by itself
}

func newDisplay(o displayOptions, d Deps) (*display, error) {
	a := &display{sensor: newSensor("display", o.Sim), o: o, log: d.Log, link: d.Link, events: make(chan reports.Reading, displayRoom),
		inbox: make(chan displayMessage, displayRoom), over: make(chan struct{}), is: displayState{brightness: o.Brightness}, bus: displayNothing{}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	a.describe()
	if !o.Sim {
		wires, err := newTM1638Wires(o, d)
		if err != nil {
			return nil, err
		}
		a.bus = wires
	}
	err := a.show(a.is)
	if err == nil {
		err = a.subscribe(d)
	}
	if err != nil {
		a.unsubscribe()
		return nil, errors.Join(err, a.bus.close())
	}
	ctx, quit := context.WithCancel(context.Background())
	a.quit = quit
	go a.run(ctx) // ends with Close, or when the GPIO chip is gone
	return a, nil
}

// displayRoom is how many events or messages may wait.
const displayRoom = 64

// describe adds the points.
func (a *display) describe() {
	for _, p := range displayPoints() {
		if !p.Access.Has(reports.Get) {
			a.add(p, func(context.Context) (any, error) { return nil, errNoValue })
			continue
		}
		p.Poll = a.o.Poll
		a.add(p, func(context.Context) (any, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.is.value(p.Path), a.fault
		})
	}
}

// Events returns what the buttons have become, and what a text that went over to the other display or a message of another program
// has changed.
func (a *display) Events() <-chan reports.Reading { return a.events }

// Err returns why there are no more events.
func (a *display) Err() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.died
}

// Apply sets a point, or carries out a block as those on /dcontrol.
func (a *display) Apply(ctx context.Context, c reports.Command) (reports.Reading, error) {
	if err := ctx.Err(); err != nil {
		return reports.Reading{}, err
	}
	switch c.Verb {
	case "set":
		if err := a.change([]displayChange{{c.Path, c.Value}}, c.Path); err != nil {
			return reports.Reading{}, err
		}
		return a.Sample(ctx, c.Path)
	case "control":
		block, _ := c.Value.([]byte)
		changes, err := displayParse(block, true)
		if err != nil {
			return reports.Reading{}, err
		}
		return reports.Reading{}, a.change(changes, "")
	}
	return reports.Reading{}, reports.Errorf(reports.CodeUnsupported, "display: %s is not known", c.Verb)
}

// change makes the changes, all or none, and tells of those that are not on the path.
func (a *display) change(changes []displayChange, except string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bus == nil {
		return a.fault // closed
	}
	if a.died != nil {
		return a.died // nobody takes events any more
	}
	next, err := a.is.with(changes, a.o.Brightness)
	if err != nil {
		return err
	}
	if err := a.show(next); err != nil {
		return err
	}
	was := a.is
	a.is = next
	for _, p := range a.service.Points {
		if v := next.value(p.Path); v != nil && v != was.value(p.Path) && p.Path != except {
			a.tell(reports.Reading{Path: p.Path, Value: v, Time: time.Now()})
		}
	}
	return nil
}

// Close switches the display off, since it would go on to show what is no longer so, and gives the lines back.
func (a *display) Close() error {
	a.unsubscribe()
	a.quit()
	<-a.over
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.bus == nil {
		return nil
	}
	bus := a.bus
	a.bus, a.fault = nil, reports.Errorf(reports.CodeOffline, "the display was closed")
	var err error
	if a.died == nil {
		err = bus.write([]byte{tm1638Control})
	}
	return errors.Join(err, bus.close())
}
