package agents

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strings"

	"rollcall/config"
	"rollcall/internal/bus"
)

// plan is a configuration, checked: what is to run. Making one starts nothing.
type plan struct {
	host, stateDir string
	broker         bus.Config
	entries        []entry
}

// entry is one configured agent with its decoded options.
type entry struct {
	name, kind string
	factory    Factory
	options    Options
	points     map[string]config.Filter
	level      *slog.Level // of the log topic; nil: none
	deps       Deps
}

// with returns what the agent gets from outside. The link may be nil.
func (e entry) with(log *slog.Logger, l *link) Deps {
	d := e.deps
	d.Service, d.Log = e.name, log
	if l != nil {
		d.Link = l
	}
	return d
}

// same reports whether two entries mean the same, so that a service of the one need not be disturbed for the other.
func (e entry) same(other entry) bool {
	return e.name == other.name && e.kind == other.kind && reflect.DeepEqual(e.options, other.options) && reflect.DeepEqual(e.points, other.points) &&
		reflect.DeepEqual(e.level, other.level)
}

// same reports whether the services of two plans are on the same host and broker.
func (p plan) same(other plan) bool {
	return p.host == other.host && p.stateDir == other.stateDir && p.broker.URL == other.broker.URL &&
		p.broker.Username == other.broker.Username && p.broker.Password == other.broker.Password
}

// index returns where the entry of the name is, or -1.
func (p plan) index(name string) int {
	return slices.IndexFunc(p.entries, func(e entry) bool { return e.name == name })
}

// plan checks a configuration.
func (c RunnerConfig) plan(conf config.Config) (plan, error) {
	p := plan{host: conf.Host, stateDir: conf.StateDir}
	var err error
	if p.broker, err = brokerOf(conf.Broker); err != nil {
		return p, &config.Error{File: c.File, Text: "broker: " + err.Error(), Err: err}
	}
	p.broker.Dial = c.Dial
	names := make([]string, len(conf.Agents))
	for i, a := range conf.Agents {
		names[i] = a.Name
	}
	for _, name := range c.Only {
		if !slices.Contains(names, name) {
			return p, &config.Error{File: c.File, Text: fmt.Sprintf("no agent %q is configured; %s", name, config.Suggest(name, names))}
		}
	}
	for _, a := range conf.Agents {
		e, err := c.entry(a)
		if err != nil {
			return p, err
		}
		e.deps = Deps{StateDir: conf.StateDir, Root: c.Root, OpenChip: c.OpenChip, At: a.Errorf}
		if len(c.Only) == 0 || slices.Contains(c.Only, a.Name) {
			c.warn(a, e.options)
			p.entries = append(p.entries, e)
		}
	}
	return p, nil
}

// warn logs what the options of an agent need that is not there.
func (c RunnerConfig) warn(a config.Agent, o Options) {
	w, ok := o.(Warner)
	if !ok || c.Log == nil {
		return
	}
	warnings := w.Warnings()
	for _, at := range slices.Sorted(maps.Keys(warnings)) {
		c.Log.Warn("configuration", "agent", a.Name, "err", a.Errorf(at, "%w", warnings[at]))
	}
}

// entry checks one configured agent and decodes its options. The configuration has checked its name and its points.
func (c RunnerConfig) entry(a config.Agent) (entry, error) {
	e := entry{name: a.Name, kind: a.Kind, points: a.Points, level: a.Log.Level()}
	i := slices.IndexFunc(c.Factories, func(f Factory) bool { return f.Name == a.Kind })
	if i < 0 {
		var kinds []string
		for _, f := range c.Factories {
			kinds = append(kinds, f.Name)
		}
		key := "agent"
		if a.Kind == a.Name {
			key = "" // the name stands for it
		}
		return e, a.Errorf(key, "no kind of agent is called %q; %s", a.Kind, config.Suggest(a.Kind, kinds))
	}
	e.factory = c.Factories[i]
	e.options = e.factory.Defaults()
	return e, a.Options.Decode(e.options)
}

// maxPassword is how long a password file may be.
const maxPassword = 4096

// brokerOf returns how the host's own broker is reached.
func brokerOf(b config.Broker) (bus.Config, error) {
	if b.URL == "" {
		host, port, err := net.SplitHostPort(b.Listen)
		if err != nil {
			return bus.Config{}, fmt.Errorf("listen: %w", err)
		}
		if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
			host = "127.0.0.1"
		}
		return bus.Config{URL: "tcp://" + net.JoinHostPort(host, port)}, nil
	}
	c := bus.Config{URL: b.URL, Username: b.Username}
	if b.PasswordFile != "" {
		f, err := os.Open(b.PasswordFile)
		if err != nil {
			return c, fmt.Errorf("password_file: %w", err)
		}
		defer func() { _ = f.Close() }() // it was only read
		text, err := io.ReadAll(io.LimitReader(f, maxPassword))
		if err != nil {
			return c, fmt.Errorf("password_file: %w", err)
		}
		c.Password = strings.TrimRight(string(text), "\r\n")
	}
	return c, nil
}
