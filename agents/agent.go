// Package agents has the agents, one file each, and the runner, which does for every agent what no agent should write: topics,
// polls, filters, commands, results, status. An agent is hardware and conversion, nothing else.
package agents

import (
	"context"
	"log/slog"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// Agent is a service's hardware. The runner calls the methods of one agent one at a time, from one goroutine, except Describe
// and Events.
type Agent interface {
	// Describe returns the service's points. It does no I/O, is safe to call at any time and says the same until Setup, or what a
	// Renewer tells of, has changed it. Name, Inputs, Outputs and Control are filled in by the runner.
	Describe() reports.Service
	// Close leaves the hardware safe. It may be called twice.
	Close() error
}

// Sampler is an agent with points that can be read.
type Sampler interface {
	// Sample reads the point. It returns when ctx ends. Time may be zero: the runner fills it in. A reading marked Stale, which
	// may have no Value, answers a get but is not published, and does not keep the point from going stale.
	Sample(ctx context.Context, path string) (reports.Reading, error)
}

// Paced is an agent whose points can't be read as often as anyone may ask for, such as a sensor that needs its rest. What the configuration
// asks for is raised to it, with a warning, and what a command asks for is refused.
type Paced interface {
	Agent
	// LeastPoll returns the shortest poll of a point, or 0 where any will do. It is constant, does no I/O and may be called at any
	// time. A point that is described with a shorter poll may have that.
	LeastPoll(path string) time.Duration
}

// BatchSampler is a Sampler that reads many points as cheaply as one, such as all of /proc/meminfo.
type BatchSampler interface {
	Sampler
	// SampleAll reads the points. What can't be read is missing from the readings and named in the error: an errors.Join with a
	// part for each, "path: why". A part that begins with no path is the reason of all that no part names.
	SampleAll(ctx context.Context, paths []string) ([]reports.Reading, error)
}

// Actuator is an agent with points that can be set, or that knows control verbs.
type Actuator interface {
	// Apply carries out a set (c.Value is checked and of the point's type) or a control (c.Value is the block as []byte) and
	// returns what is read back. A control that concerns no single point returns a Reading without Path. The block of a control
	// is what was sent to the letter; the keys id and reply of a JSON or YAML block are the runner's.
	//
	// What else has changed by it, the agent puts on Events before it returns: that is published before the result is sent. An
	// agent that gives events should set the Time of what it returns, as that of its events.
	Apply(ctx context.Context, c reports.Command) (reports.Reading, error)
}

// Notifier is an agent whose points change by themselves.
type Notifier interface {
	// Events returns the channel of readings, always the same one; it is closed by Close, and if it is closed before, the
	// runner makes the agent anew. Time says when it happened: a sample or a read-back of before is not published after it.
	//
	// Once New has returned, the channel is received from whatever the agent does, so that a method may wait until it has room.
	// What is put there during Setup is taken when that has returned and the points are described. An agent that is no Sampler
	// puts the value of every point there in New, as many as the channel holds, and in Setup.
	Events() <-chan reports.Reading
}

// Failer is a Notifier that can say why it has closed its channel of events, such as that the chip was unplugged.
type Failer interface {
	Notifier
	// Err returns the reason. It is called after the channel was closed, from another goroutine than the other methods, and
	// must not wait.
	Err() error
}

// Setupper is an agent that can be set up while it runs.
type Setupper interface {
	// Setup checks the whole document, then applies all of it or nothing, then saves it. Describe may differ afterwards. Every
	// point is then sampled and published before the result is sent.
	Setup(ctx context.Context, doc []byte) error
	// CurrentSetup returns the document that would make the present set-up; of an agent that New returned with an error, the
	// one that is wrong, or why it can't be shown.
	CurrentSetup() ([]byte, error)
}

// Prompt is an Actuator whose Apply is back at once as a rule, within 100 µs, and never waits for its events to be taken: the runner
// calls it without a change of goroutine. When it takes longer all the same, it is waited for as that of any other agent.
type Prompt interface {
	Actuator
	Prompt() // does nothing
}

// Toggler is an Actuator that carries out TOGGLE itself, for it knows more than its state, such as what is about to be: the value of a
// set may be reports.Toggle.
type Toggler interface {
	Actuator
	Toggles() // does nothing
}

// Renewer is an agent of which a set, a control or a look at its hardware, not only a setup, can make another one.
type Renewer interface {
	// Renewed reports whether Describe says something else than when it was last asked, other than by Setup. The runner asks
	// after each set and control, and after each poll.
	Renewed() bool
}

// Options are the options of one kind of agent: a pointer to its own struct with yaml and doc tags, decoded strictly by
// config over the defaults.
type Options interface {
	// Validate checks what the types can't; its errors are made with config.At.
	Validate() error
}

// Warner is Options that are right, but need what this machine does not have at present, such as a program that is yet to be installed.
// The agent fails, and is made anew until it is there; the other agents need not wait for that.
type Warner interface {
	// Warnings returns what is missing by the option that names it, after Validate has returned nil.
	Warnings() map[string]error
}

// Deps is what an agent gets from outside.
type Deps struct {
	Service  string // the agent's name in the configuration
	StateDir string // where set-ups are saved
	Root     string // prefix of /proc and /sys, "" but in tests
	Log      *slog.Logger
	// At makes an error about an option, such as "chip", with the file and the line where it stands; nil means without them.
	At func(path, format string, args ...any) error
	// OpenChip opens a GPIO chip; nil means gpio.Open, and the in-memory chip for "sim".
	OpenChip func(name string) (gpio.Chip, error)
	// Link is the service's connection to the broker; nil where there is none, as in most tests.
	Link Link
}

// Link is the service's connection to the host's broker as far as an agent may use it. It belongs to one agent: when that was
// closed, what it has not stopped is stopped. It is safe for concurrent use, and no method of it waits.
//
// The functions given to Watch and Subscribe are called by the connection itself. They must not block, since nothing is received
// meanwhile, but may call everything here. A stop may be called twice, and does not wait for a call that has begun.
type Link interface {
	// Up reports whether there is a connection, with all subscriptions in force. A broker that vanished without a word is
	// noticed within 25 s.
	Up() bool
	// Watch calls f with the present state before it returns, and then whenever that has changed. So it must not be called
	// with a lock that f takes.
	Watch(f func(up bool)) (stop func())
	// Subscribe calls f with the payload of each message on the topic, one at a time, what is retained included, now or as soon
	// as there is a connection, and again after every reconnect. The error says that the topic is not legal: it has a wildcard,
	// begins with $, or is one of this service's command topics. If the broker refuses the subscription, the service's error
	// topic says so.
	Subscribe(topic string, f func(payload []byte)) (stop func(), err error)
	// Check says why Publish would refuse the topic whatever the connection: it is not legal, or messages of others stand there
	// (discovery, the commands of this host, its status and what its services say of themselves, this service's points). With
	// points, these are the service's instead of those that it describes at present: for a set-up that is being checked.
	Check(topic string, points ...string) error
	// Fault puts an error on the service's error topic, about something by which it is replaced, and taken off with nil. It goes with
	// the agent.
	Fault(about string, err error)
	// Publish sends a message at QoS 1, not retained. Without a connection, or when it is lost before the broker has
	// acknowledged, the message is dropped: an edge must not be told minutes after. Nil does not mean that the broker has it.
	Publish(topic string, payload []byte) error
}

// Factory makes agents of one kind.
type Factory struct {
	Name     string
	Doc      string         // one sentence: what it is for
	Wiring   string         // Markdown: how the hardware is connected and made known to the kernel; "" if there is nothing to connect
	Example  string         // options in YAML that start it without hardware where that can be
	Defaults func() Options // a new struct of options with their defaults
	// New makes the agent. A Setupper may come with an error: it can't work, and waits for a set-up that makes it. Until then
	// only Setup, CurrentSetup and Close are called, and New again from time to time.
	New func(Options, Deps) (Agent, error)
}
