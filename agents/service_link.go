package agents

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// wire is what links need of a service's connection. *bus.Client is one.
type wire interface {
	Listen(filter string, handler func(bus.Message), answer func(error)) (stop func(), err error)
	Offer(bus.Message) error
}

// links lets the agents of one service use its connection, one after the other, each through a link of its own that ends with
// it. It is safe for concurrent use, and holds no lock while it calls an agent.
type links struct {
	topics reports.Topics
	owns   func(path string) bool // whether a state stands at the path of the service
	log    *slog.Logger
	client wire          // set before the first link is opened; nil: there is no connection, nor links
	notes  chan linkNote // to the loop

	mu      sync.Mutex
	up      bool
	watches []*linkWatch
}

// linkNote is what the loop is to make known: that something a link does is refused, or, without an error, no more.
type linkNote struct {
	key string
	err error
}

// faultLink begins the keys of faults that links have.
const faultLink = "(link) "

func newLinks(topics reports.Topics, owns func(path string) bool, log *slog.Logger) *links {
	return &links{topics: topics, owns: owns, log: log, notes: make(chan linkNote, 16)}
}

// set says whether there is a connection. It is called by the connection.
func (l *links) set(up bool) {
	l.mu.Lock()
	l.up = up
	watches := slices.Clone(l.watches)
	l.mu.Unlock()
	for _, w := range watches {
		w.tell()
	}
}

func (l *links) isUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up
}

// note hands a note to the loop. One that finds no room is in the log only.
func (l *links) note(key string, err error) {
	if err != nil {
		l.log.Warn("link of the agent", "about", key, "err", err)
	}
	select {
	case l.notes <- linkNote{faultLink + key, err}:
	default:
	}
}

// call calls a function of the agent, whose panic must not end the process.
func (l *links) call(what string, f func()) {
	if err := guard(func() error { f(); return nil }); err != nil {
		l.note(what, fmt.Errorf("%s: %w", what, err))
	}
}

// open returns a link for a new agent, or nil where there is no connection that could be linked to.
func (l *links) open() *link {
	if l.client == nil {
		return nil
	}
	return &link{links: l, stops: map[int]func(){}}
}

// check says why an agent may not publish on a topic, where the states of its service stand at paths that are owned.
func (l *links) check(topic string, owns func(path string) bool) error {
	if err := reports.ValidTopic(topic); err != nil {
		return err
	}
	refuse := func(why string) error {
		return reports.Errorf(reports.CodeBadTopic, "topic %q must not be published to: %s", topic, why)
	}
	segs := strings.Split(strings.Trim(topic, "/"), "/")
	at := func(i int) string {
		if i < len(segs) {
			return segs[i]
		}
		return ""
	}
	switch {
	case at(0) == "udp":
		return refuse("it belongs to discovery")
	case slices.Contains(reports.Verbs, at(0)):
		return refuse("commands of this host are received there")
	case at(0) != l.topics.Host:
		return nil
	case len(segs) == 1 || at(1) == "status":
		return refuse("it is where this host itself is told of")
	case slices.Contains(reports.Verbs, at(1)), slices.Contains(reports.Verbs, at(2)):
		return refuse("commands of this host are received there")
	case slices.Contains(reports.Reserved, at(2)):
		return refuse("what service " + at(1) + " says of itself stands there")
	case at(1) == l.topics.Service && owns(strings.Join(segs[2:], "/")):
		return refuse("the state of a point of this service stands there")
	}
	return nil
}

// link is the Link of one agent.
type link struct {
	*links
	closed atomic.Bool

	mu    sync.Mutex
	last  int
	stops map[int]func() // of what the agent has not stopped itself
}

// end closes the link and stops what is left.
func (k *link) end() {
	if k == nil || k.closed.Swap(true) {
		return
	}
	k.mu.Lock()
	stops := k.stops
	k.stops = nil
	k.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
}

// keep remembers how something is stopped, and returns the function that does it, once.
func (k *link) keep(stop func()) func() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stops == nil { // ended meanwhile
		stop()
		return func() {}
	}
	k.last++
	n := k.last
	k.stops[n] = stop
	return func() {
		k.mu.Lock()
		_, mine := k.stops[n]
		delete(k.stops, n)
		k.mu.Unlock()
		if mine {
			stop()
		}
	}
}

// Up implements Link.
func (k *link) Up() bool { return !k.closed.Load() && k.isUp() }

// Watch implements Link.
func (k *link) Watch(f func(up bool)) (stop func()) {
	if k.closed.Load() {
		return func() {}
	}
	w := &linkWatch{links: k.links, f: f}
	k.links.mu.Lock()
	k.watches = append(k.watches, w)
	k.links.mu.Unlock()
	w.tell()
	return k.keep(w.stop)
}

// Subscribe implements Link.
func (k *link) Subscribe(topic string, f func(payload []byte)) (stop func(), err error) {
	if k.closed.Load() {
		return nil, errLinkClosed
	}
	if err := reports.ValidTopic(topic); err != nil {
		return nil, err
	}
	if _, _, command := k.topics.Parse(topic); command {
		return nil, reports.Errorf(reports.CodeBadTopic, "topic %q must not be subscribed to: this service receives its commands there", topic)
	}
	var over atomic.Bool
	about := "subscribe to " + topic
	leave, err := k.client.Listen(topic, func(m bus.Message) {
		if !over.Load() {
			k.call("message on "+topic, func() { f(m.Payload) })
		}
	}, func(err error) {
		if !over.Load() {
			k.note(about, err)
		}
	})
	if err != nil {
		return nil, err
	}
	return k.keep(func() {
		over.Store(true)
		leave()
		k.note(about, nil)
	}), nil
}

// Check implements Link.
func (k *link) Check(topic string, points ...string) error {
	if len(points) == 0 {
		return k.check(topic, k.owns)
	}
	return k.check(topic, func(path string) bool { return slices.Contains(points, path) })
}

// Fault implements Link.
func (k *link) Fault(about string, err error) {
	if !k.closed.Load() {
		k.note(about, err)
	}
}

// Publish implements Link.
func (k *link) Publish(topic string, payload []byte) error {
	if k.closed.Load() {
		return errLinkClosed
	}
	if err := k.check(topic, k.owns); err != nil {
		return err
	}
	if len(payload) > maxMessage {
		return reports.Errorf(reports.CodeTooLarge, "message on %q has %d bytes, at most %d are allowed", topic, len(payload), maxMessage)
	}
	return k.client.Offer(bus.Message{Topic: topic, Payload: bytes.Clone(payload), QoS: 1})
}

// errLinkClosed is what an agent gets that was closed.
var errLinkClosed = reports.Errorf(reports.CodeOffline, "the agent was closed")

// linkWatch is a function that is told of the connection.
type linkWatch struct {
	links *links
	f     func(up bool)
	over  atomic.Bool

	mu   sync.Mutex // held over each call, so that the last one tells what is
	told bool
	up   bool
}

// tell calls the function if it has not been told what is.
func (w *linkWatch) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	up := w.links.isUp()
	if w.over.Load() || w.told && w.up == up {
		return
	}
	w.told, w.up = true, up
	w.links.call("watch of the connection", func() { w.f(up) })
}

// stop ends the watch. It does not wait for a call that has begun.
func (w *linkWatch) stop() {
	w.over.Store(true)
	w.links.mu.Lock()
	defer w.links.mu.Unlock()
	w.links.watches = slices.DeleteFunc(slices.Clone(w.links.watches), func(x *linkWatch) bool { return x == w })
}

// unlink takes away the faults of the links of agents that are no more.
func (s *service) unlink() {
	for len(s.links.notes) > 0 {
		<-s.links.notes
	}
	before := len(s.faults)
	s.faults.keep(func(key string) bool { return !strings.HasPrefix(key, faultLink) })
	if len(s.faults) != before {
		s.publishFaults()
	}
}

// linkNote makes known what a link has to say.
func (s *service) linkNote(n linkNote) {
	if n.err == nil {
		s.cured(n.key)
		return
	}
	s.fault(n.key, n.err.Error())
}
