package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/reports"
	"rollcall/reports/live"
)

// Bounds and times of the faces.
const (
	maxQueue    = 1024            // values and messages that wait for a face
	maxStanding = 16 << 20        // bytes of the file of what a face has put on the broker
	again       = 5 * time.Second // up to this long after a client has begun anew, all is published again
)

// face is a face at work: a connection of its own, and what it has put on the broker.
type face struct {
	name   string
	bridge reports.Bridge
	client *bus.Client
	view   *view
	file   string // of standing
	log    *slog.Logger
	jitter func(time.Duration) time.Duration

	changed chan struct{} // size 1: what stands may have to change
	lost    chan struct{} // size 1: all is to be published again, since the broker may have lost it
	renewed chan struct{} // size 1: the same after a while, since a client has begun anew
	queue   chan func() []reports.Message

	standing standing
	expected []string // services that it has told of before
	clocked  clocked
}

// standing is what a face has put on the broker. It is kept over restarts, so that nothing stays behind.
type standing struct {
	Topics   map[string]string `json:"topics"`   // what stands; of values "", that they stand
	Order    []string          `json:"order"`    // of Topics, as they were published
	Services []string          `json:"services"` // that it has told of
	Valued   []string          `json:"valued"`   // whose values stand
}

// openFaces makes the faces that the configuration names, and the view that they see the services through.
func (m *monitor) openFaces() error {
	if len(m.cfg.Faces) == 0 {
		return nil
	}
	m.view = newView(m.self())
	m.viewers.add(m.view)
	for _, c := range m.cfg.Faces {
		bridges, err := newBridges(c, m.view.host)
		if err != nil {
			return err
		}
		for _, part := range slices.Sorted(maps.Keys(bridges)) {
			name := c.Name
			if part != "" {
				name += "-" + part
			}
			f, err := m.newFace(name, bridges[part])
			if err != nil {
				return err
			}
			m.faces = append(m.faces, f)
		}
	}
	return m.connectFaces()
}

// connectFaces has the faces told of what the services say.
func (m *monitor) connectFaces() error {
	m.view.changed = func() {
		for _, f := range m.faces {
			poke(f.changed)
		}
	}
	m.view.said = func(s reports.HostService, p reports.Point, payload string) {
		for _, f := range m.faces {
			f.take(func() []reports.Message { return f.value(s, p, payload) })
		}
	}
	return m.client.Subscribe(context.Background(), 1, m.view.take, "/"+m.cfg.Host+"/#")
}

// newBridges makes the bridges that an entry of the configuration asks for, most often one. An error has the file and the line.
func newBridges(c config.Face, self reports.Host) (map[string]reports.Bridge, error) {
	all := live.All()
	i := slices.IndexFunc(all, func(l reports.Live) bool { return l.Name == c.Name })
	if i < 0 {
		var names []string
		for _, l := range all {
			names = append(names, l.Name)
		}
		return nil, c.Options.Errorf("", "there is no face %q; there are: %s", c.Name, strings.Join(names, ", "))
	}
	options := all[i].Defaults()
	if err := c.Options.Decode(options); err != nil {
		return nil, err
	}
	parts := map[string]any{"": options}
	if all[i].Split != nil {
		parts = all[i].Split(options)
	}
	out := map[string]reports.Bridge{}
	for name, part := range parts {
		bridge, err := all[i].New(part, self)
		if err != nil {
			return nil, c.Options.Errorf("", "%w", err)
		}
		out[name] = bridge
	}
	return out, nil
}

// checkFaces returns what is wrong with the faces of a configuration.
func checkFaces(cfg config.Config) error {
	for _, c := range cfg.Faces {
		if _, err := newBridges(c, reports.Host{Name: cfg.Host, Key: cfg.Host}); err != nil {
			return err
		}
	}
	return nil
}

// self is this host as the faces show it, without its services.
func (m *monitor) self() reports.Host {
	return reports.Host{Key: m.cfg.Host, ID: m.id.String(), Name: m.cfg.Host, MAC: hardwareAddr(), Model: m.facts.model,
		OS: m.facts.os, Arch: runtime.GOARCH, Version: version, Status: reports.Online}
}

// newFace makes a face's connection to the host's broker.
func (m *monitor) newFace(name string, bridge reports.Bridge) (*face, error) {
	f := &face{name: name, bridge: bridge, view: m.view, file: filepath.Join(m.cfg.StateDir, "face."+name+".json"), log: m.log.With("face", name),
		jitter:  func(d time.Duration) time.Duration { return rand.N(d) },
		changed: make(chan struct{}, 1), lost: make(chan struct{}, 1), renewed: make(chan struct{}, 1),
		queue: make(chan func() []reports.Message, maxQueue), standing: standing{Topics: map[string]string{}}}
	f.recall(m.cfg.StateDir)
	lost, stops := bridge.Ends()
	cfg := bus.Config{URL: m.at.url, ClientID: "udpmon-" + m.id.String() + "-" + name, Username: m.cfg.Broker.Username, Password: m.password,
		Log: f.log, OnUp: func() { poke(f.lost) }, Stops: f.stops}
	for _, msg := range lost {
		will := message(msg)
		cfg.Will = &will
	}
	for _, msg := range stops {
		cfg.Last = append(cfg.Last, message(msg))
	}
	var err error
	if f.client, err = bus.New(cfg); err != nil {
		return nil, err
	}
	if err := f.load(); err != nil {
		f.log.Warn("what the face has put on the broker is not known", "err", err)
	}
	filters := bridge.Filters()
	if len(filters) == 0 {
		return f, nil
	}
	return f, f.client.Subscribe(context.Background(), 1, func(msg bus.Message) {
		f.take(func() []reports.Message {
			out, renew := bridge.Heard(f.view.snapshot(), reports.Message{Topic: msg.Topic, Payload: string(msg.Payload), QoS: msg.QoS, Retained: msg.Retained})
			if renew {
				poke(f.renewed)
			}
			return out
		})
	}, filters...)
}

// take queues what is to be done by the face's goroutine. What there is no room for is made up for by publishing all again.
func (f *face) take(work func() []reports.Message) {
	select {
	case f.queue <- work:
	default:
		poke(f.lost)
	}
}

// value is a point's new value. One whose group does not stand yet goes with the group.
func (f *face) value(s reports.HostService, p reports.Point, payload string) []reports.Message {
	out := f.bridge.Said(s, p, payload)
	more := false
	for _, msg := range out {
		if !msg.Retained {
			continue
		}
		if !slices.Contains(f.standing.Valued, s.Name) {
			return nil
		}
		if _, stands := f.standing.Topics[msg.Topic]; !stands && msg.Payload != "" {
			f.standing.Topics[msg.Topic], more = "", true
			f.standing.Order = append(f.standing.Order, msg.Topic)
		}
	}
	if more {
		f.save(f.standing)
	}
	return out
}

// run works until ctx ends.
func (f *face) run(ctx context.Context) error {
	now, later, clock := stoppedTimer(), stoppedTimer(), stoppedTimer()
	defer now.Stop()
	defer later.Stop()
	defer clock.Stop()
	whole := false
	for {
		f.wind(clock)
		select {
		case <-ctx.Done():
			return nil
		case work := <-f.queue:
			f.send(work()...)
		case <-f.changed:
			now.Reset(gather)
		case <-f.lost:
			whole = true
			now.Reset(gather)
		case <-f.renewed:
			later.Reset(f.jitter(again))
		case <-later.C:
			f.publish(true)
		case <-clock.C:
			f.send(f.clocked.Due(f.view.snapshot(), time.Now())...)
		case <-now.C:
			if whole && f.clocked.Clocked != nil {
				f.clocked.Connected()
			}
			whole = !f.publish(whole) && whole
		}
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// send publishes messages in their order.
func (f *face) send(all ...reports.Message) {
	for _, msg := range all {
		f.client.Send(message(msg))
	}
}

// publish makes the broker hold what the face wants to stand: the groups that differ, or all of them. It waits, and says false,
// while a service of which it told before is still to come.
func (f *face) publish(whole bool) bool {
	if f.clocked.Clocked == nil && !f.view.has(f.expected) { // one that speaks by the clock leaves nothing standing
		return false
	}
	h := f.view.snapshot()
	next, ordered := standing{Topics: map[string]string{}, Services: names(h)}, map[string]bool{}
	var out []reports.Message
	for _, g := range f.bridge.Stands(h, f.standing.Topics) {
		all, values := f.messages(h, g)
		frame := map[string]string{}
		for _, msg := range slices.Concat(g.Before, g.After) {
			frame[msg.Topic] = msg.Payload // of several on one topic the last
		}
		differs := whole
		for topic, payload := range frame {
			old, stood := f.standing.Topics[topic]
			differs = differs || !stood || old != payload
		}
		if differs {
			out = append(out, all...)
		}
		maps.Copy(next.Topics, frame)
		for _, topic := range values {
			next.Topics[topic] = ""
		}
		for _, msg := range all {
			if !ordered[msg.Topic] {
				ordered[msg.Topic] = true
				next.Order = append(next.Order, msg.Topic)
			}
		}
		if g.Service != "" {
			next.Valued = append(next.Valued, g.Service)
		}
	}
	for _, topic := range f.standing.Order {
		if _, stands := next.Topics[topic]; !stands {
			out = append(out, reports.Message{Topic: topic, QoS: 1, Retained: true})
		}
	}
	if len(out) > 0 {
		both := standing{Topics: maps.Clone(f.standing.Topics), Order: slices.Concat(f.standing.Order, next.Order), Services: next.Services, Valued: next.Valued} // until the broker has the new ones
		maps.Copy(both.Topics, next.Topics)
		f.save(both)
		f.send(out...)
	}
	f.standing, f.expected = next, nil
	return true
}

func names(h reports.Host) (out []string) {
	for _, s := range h.Services {
		out = append(out, s.Name)
	}
	return out
}

// messages returns a group's messages in order, and the topics of its values.
func (f *face) messages(h reports.Host, g reports.Group) (all []reports.Message, values []string) {
	all = slices.Clone(g.Before)
	for _, s := range h.Services {
		if s.Name != g.Service {
			continue
		}
		for _, p := range s.Points {
			if !p.Access.Has(reports.Get) {
				continue
			}
			for _, msg := range f.bridge.Said(s, p, s.Values[p.Path]) {
				if msg.Retained && msg.Payload != "" {
					values = append(values, msg.Topic)
					all = append(all, msg)
				}
			}
		}
	}
	return append(all, g.After...), values
}

// load reads what the face has put on the broker before.
func (f *face) load() error {
	if err := config.Tidy(f.file); err != nil {
		f.log.Warn("what a crash has left stays", "err", err)
	}
	info, err := os.Stat(f.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err == nil && info.Size() > maxStanding:
		err = errors.New("too large")
	}
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(f.file)
	if err != nil {
		return err
	}
	var s standing
	if err := json.Unmarshal(doc, &s); err != nil || s.Topics == nil {
		return errors.Join(errors.New("not what was saved"), err)
	}
	f.standing, f.expected = s, s.Services
	return nil
}

// save keeps what stands for the next start.
func (f *face) save(s standing) {
	doc, err := json.Marshal(s)
	if err == nil {
		err = config.Save(f.file, doc)
	}
	if err != nil {
		f.log.Error("what stands on the broker is not saved", "err", err)
	}
}

// message is a face's message as the bus has it.
func message(m reports.Message) bus.Message {
	return bus.Message{Topic: m.Topic, Payload: []byte(m.Payload), QoS: m.QoS, Retained: m.Retained}
}

// poke tells whoever waits at the channel, which has room for one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it has been told already
	}
}
