package agents

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// inboxSize is how many commands of one service may wait; one more is refused with reports.CodeBusy.
const inboxSize = 64

// outlet is what a service needs of its connection. *bus.Client is one.
type outlet interface {
	Keep(bus.Message)
	Send(bus.Message)
}

// service runs one configured agent. Three goroutines belong to it: that of the connection, which only hands commands over
// (receive); the loop, which decides everything and owns every field without a note; and the worker of the present agent,
// from which all its methods are called.
type service struct {
	entry  entry // constant
	host   string
	topics reports.Topics
	quiet  *slog.Logger // goes to the program's log and the tail only
	log    *slog.Logger // goes to the log topic as well, if that is switched on
	public *topicLog
	tail   *logTail
	out    outlet
	links  *links

	described atomic.Pointer[reports.Service] // what the service says of itself; read by all
	first     chan struct{}                   // closed once the first attempt to make the agent has come to an end
	alive     chan struct{}                   // received from by whoever wants to know that the loop goes round
	over      chan struct{}                   // closed when the loop has ended
	inbox     chan intake
	retained  chan bus.Message // what stood on the service's description topic, and what came on its status topic

	intakeMu sync.RWMutex
	closed   bool // guarded by intakeMu: nothing reads inbox any more

	ctx         context.Context
	inst        *instance // nil while there is none
	ready       bool      // inst has an agent that has described itself
	call        *call     // what the worker is doing; nil: nothing
	outcomes    chan error
	lent        atomic.Bool // an agent has the goroutine of the loop, and whoever sets this to false has the loop
	relief      *time.Timer // takes the loop over from an agent that keeps it
	timer       *time.Timer // when something is due
	failures    int         // of the agent, in a row
	since       time.Time   // when the present agent was ready
	retryAt     time.Time   // when the agent is made anew
	events      <-chan reports.Reading
	mute        bool              // events has ended while the worker was at work
	held        []reports.Reading // events that came in during a setup, whose points may be described only then
	status      reports.Status
	schedule    *schedule
	batches     []batch // due, not yet sampled
	sampledLast bool    // the worker's last job was a sample, not a command
	filters     map[string]*filter
	ghosts      map[string]bool          // paths whose states may stand at the broker
	polls       map[string]time.Duration // set at run time, by path
	faults      faults
	health      health
	handover    handover
}

// intake is a command as it came in.
type intake struct {
	verb, path string
	bad        bool // the topic is none of the service's
	payload    []byte
	retained   bool
}

// newService returns the service of an entry, which samples with the beat; nothing is started yet.
func newService(e entry, host string, beat time.Time, log *slog.Logger) *service {
	s := &service{
		entry:    e,
		host:     host,
		topics:   reports.Topics{Host: host, Service: e.name},
		tail:     &logTail{},
		first:    make(chan struct{}),
		alive:    make(chan struct{}),
		over:     make(chan struct{}),
		inbox:    make(chan intake, inboxSize),
		retained: make(chan bus.Message, 16),
		outcomes: make(chan error, 1),
		schedule: newSchedule(beat, rand.Float64),
		filters:  map[string]*filter{},
		ghosts:   map[string]bool{},
		polls:    map[string]time.Duration{},
		status:   reports.Offline,
	}
	s.health.since, s.health.beat = time.Now().UTC().Truncate(time.Second), beat
	level := logNever
	if e.level != nil {
		level = *e.level
	}
	own := log.With("agent", e.name).Handler()
	s.public = newTopicLog(s.topics.To("log"), level)
	s.quiet, s.log = slog.New(topicHandler{Handler: own, tail: s.tail}), slog.New(topicHandler{Handler: own, to: s.public, tail: s.tail})
	desc := reports.Service{Name: e.name, Function: e.kind}.On(host)
	s.described.Store(&desc)
	s.links = newLinks(s.topics, func(path string) bool { _, ok := s.described.Load().Point(path); return ok }, s.log)
	return s
}

// statusMessage is the retained status, which is the last will as well: same topic, QoS and retention.
func (s *service) statusMessage(status reports.Status) bus.Message {
	return bus.Message{Topic: s.topics.To("status"), Payload: []byte(status), QoS: 1, Retained: true}
}

// run connects the service and runs it until ctx ends. A service that was retired takes what it has retained off the broker.
func (s *service) run(ctx context.Context, broker bus.Config, retired *atomic.Bool) error {
	will := s.statusMessage(reports.Offline)
	broker.ClientID = "rollcall-" + s.host + "-" + s.entry.name // a second one of the same name takes the connection over
	broker.Will, broker.Last, broker.Log = &will, []bus.Message{will}, s.quiet
	broker.Direct = true // receive and remember only hand over, and agents are told to
	broker.OnUp, broker.OnDown = func() { s.health.connects.Add(1); s.links.set(true) }, func(error) { s.links.set(false) }
	client, err := bus.New(broker)
	if err != nil {
		return err
	}
	s.out, s.links.client, s.health.dropped = client, client, client.Dropped
	// There is no connection yet, so these can only fail for what is wrong with the call. Commands are received at QoS 0: what a
	// broker still owed is lost with the clean session at either QoS, and at 1 a TOGGLE could come twice. The result is what tells.
	if err := errors.Join(
		client.Subscribe(ctx, 1, s.remember, s.topics.To("description"), s.topics.To("status")),
		client.Subscribe(ctx, 0, s.receive, s.topics.Filters()...)); err != nil {
		return err
	}
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	defer disconnect()
	lost := make(chan error, 1)
	go func() { lost <- client.Run(connected) }()
	s.public.start(client)
	s.loop(ctx)
	if retired.Load() {
		s.erase()
	}
	s.public.stop()
	disconnect()
	return <-lost
}

// receive hands a command to the loop. It is called by the connection and never waits.
func (s *service) receive(m bus.Message) {
	verb, path, ok := s.topics.Parse(m.Topic)
	in := intake{verb: verb, path: path, bad: !ok, payload: m.Payload, retained: m.Retained}
	if len(in.payload) > reports.MaxPayload+1 {
		in.payload = append([]byte(nil), in.payload[:reports.MaxPayload+1]...) // the rest is refused unread
	}
	s.intakeMu.RLock()
	defer s.intakeMu.RUnlock()
	if s.closed {
		a, _ := s.ask(in)
		a.failed(reports.Errorf(reports.CodeOffline, "the service is being stopped"))
		return
	}
	select {
	case s.inbox <- in:
	default:
		a, err := s.ask(in)
		if err == nil {
			err = reports.Errorf(reports.CodeBusy, "%d commands are waiting already", inboxSize)
		}
		a.failed(err)
	}
}

// remember hands over what stands on the service's own topics. Losing one is made good at the next reconnect.
func (s *service) remember(m bus.Message) {
	select {
	case s.retained <- m:
	default:
	}
}

// close ends the intake and refuses what still waits.
func (s *service) close() {
	s.intakeMu.Lock()
	s.closed = true
	s.intakeMu.Unlock()
	for {
		select {
		case in := <-s.inbox:
			a, err := s.ask(in)
			if err == nil {
				err = reports.Errorf(reports.CodeOffline, "the service is being stopped")
			}
			a.failed(err)
		default:
			return
		}
	}
}

// erase takes everything that the service has retained off the broker; its status stays, as offline.
func (s *service) erase() {
	for path := range s.ghosts {
		s.empty(s.topics.To(path))
	}
	s.empty(s.topics.To("error"))
	s.empty(s.topics.To(reports.HealthTail))
	s.empty(s.topics.To("description"))
}

// empty takes a retained message off the broker.
func (s *service) empty(topic string) {
	s.out.Keep(bus.Message{Topic: topic, QoS: 1, Retained: true})
}
