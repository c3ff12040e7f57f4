package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports"
)

// Times of a topSession.
const (
	againAfter = 5 * time.Second // a broker that could not be reached is tried again
	askTimeout = 5 * time.Second // for a service to say what its values are
	askAtOnce  = 8
)

// topSession reads what the broker of a host says, until it is stopped.
type topSession struct {
	top   *topping
	a     *app
	model *topModel
	key   string
	e     entry

	ready chan struct{} // closed once all that the broker has retained is there, or can't be had
	once  sync.Once
}

// run reads until ctx ends.
func (s *topSession) run(ctx context.Context) {
	defer s.isReady()
	for {
		err := s.read(ctx)
		if ctx.Err() != nil {
			return
		}
		s.model.trouble(s.key, reports.OneLine(err.Error()))
		s.isReady()
		again := time.NewTimer(jitter(againAfter))
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
	}
}

func (s *topSession) isReady() { s.once.Do(func() { close(s.ready) }) }

// read connects to the first of the host's brokers that can be reached, and reads until ctx ends.
func (s *topSession) read(ctx context.Context) error {
	brokers, err := s.e.usable()
	if s.a.named != nil {
		brokers, err = []brokerURL{*s.a.named}, nil
	}
	for _, b := range brokers {
		if b.pinned == nil {
			if b, err = s.a.pin(b, s.e); err != nil {
				continue
			}
		}
		var client *bus.Client
		var stop func() error
		if client, stop, err = connect(ctx, b.config(s.a), connectWait); err != nil {
			continue
		}
		err = s.follow(ctx, client, b)
		if stopped := stop(); err == nil {
			err = stopped
		}
		if ctx.Err() != nil {
			return nil
		}
	}
	return err
}

// follow takes in what the broker says until ctx ends.
func (s *topSession) follow(ctx context.Context, client *bus.Client, b brokerURL) error {
	receive := func(m bus.Message) { s.top.guard(func() { s.model.message(s.key, m) }) }
	wait, cancel := context.WithTimeout(ctx, connectWait)
	defer cancel()
	host := s.e.Hostname
	if err := client.Subscribe(wait, 0, receive, "/"+host+"/+/+/#", host+"/+/+/#"); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	last := make(chan struct{})
	seen := sync.OnceFunc(func() { close(last) })
	if err := client.Subscribe(wait, 0, func(bus.Message) { seen() }, reports.HostStatus(host)); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	enough := time.NewTimer(verifyWait)
	defer enough.Stop()
	select {
	case <-last: // it was asked for last: all else that was retained has come
	case <-enough.C:
	case <-ctx.Done():
		return nil
	}
	s.model.trouble(s.key, "")
	s.ask(ctx, client, b)
	s.isReady()
	return s.stay(ctx, client)
}

// stay waits for the end, and says when the connection is lost and when it is back: the client itself connects again.
func (s *topSession) stay(ctx context.Context, client *bus.Client) error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for up := true; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		if now := client.Connected(); now != up {
			up = now
			text := ""
			if !up {
				text = "the connection to its broker is lost"
			}
			s.model.trouble(s.key, text)
		}
	}
}

// ask has the services say since when their values are what they are; one that does not answer is no error.
func (s *topSession) ask(ctx context.Context, client *bus.Client, b brokerURL) {
	var running sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for _, name := range s.model.asked(s.key) {
		slots <- struct{}{}
		running.Go(func() {
			defer func() { <-slots }()
			s.top.guard(func() {
				l := &link{Client: client, name: b.String(), target: target{host: s.e.Hostname, service: name}, retained: map[string][]byte{}}
				r, err := l.command(ctx, "get", nil, askTimeout)
				if err != nil {
					s.a.log().Debug("ask for values", "host", s.e.Hostname, "service", name, "err", err)
					return
				}
				list, single := readings(r.Data)
				if !single {
					s.model.readings(s.key, name, list)
				}
			})
		})
	}
	running.Wait()
}

// guard calls f; a panic in it is told to the one who can restore the terminal.
func (o *topping) guard(f func()) {
	defer func() {
		if p := recover(); p != nil {
			select {
			case o.panics <- fmt.Sprintf("%v\n\n%s", p, strings.TrimSpace(string(debug.Stack()))):
			default: // one is enough
			}
		}
	}()
	f()
}

// hosts follows the hosts until ctx ends: it starts a session for each that comes, and ends that of one that goes.
type hosts struct {
	top   *topping
	a     *app
	model *topModel
	ctx   context.Context

	wg       sync.WaitGroup
	sessions map[string]*running
}

// running is a session and how to end it.
type running struct {
	*topSession
	cancel context.CancelFunc
}

func newHosts(ctx context.Context, o *topping, a *app, m *topModel) *hosts {
	return &hosts{top: o, a: a, model: m, ctx: ctx, sessions: map[string]*running{}}
}

// put takes in a host that is new or not as it was.
func (hs *hosts) put(h *host) {
	key := keyOf(h)
	hs.model.put(key, h)
	e := entryOf(h, time.Time{})
	if old := hs.sessions[key]; old != nil {
		if strings.Join(old.e.Brokers, " ") == strings.Join(e.Brokers, " ") {
			return
		}
		old.cancel()
	}
	ctx, cancel := context.WithCancel(hs.ctx)
	s := &topSession{top: hs.top, a: hs.a, model: hs.model, key: key, e: e, ready: make(chan struct{})}
	hs.sessions[key] = &running{s, cancel}
	hs.wg.Go(func() { hs.top.guard(func() { s.run(ctx) }) })
}

// drop forgets a host.
func (hs *hosts) drop(key string) {
	if s := hs.sessions[key]; s != nil {
		s.cancel()
		delete(hs.sessions, key)
	}
	hs.model.drop(key)
}

// event takes in what a watch has seen. A host whose address is another is another row.
func (hs *hosts) event(e event) error {
	key := keyOf(e.host)
	for other, s := range hs.sessions {
		if other != key && s.e.Hostname == e.Host.Hostname && s.e.ID == e.Host.ID && e.Host.ID != "" {
			hs.drop(other)
		}
	}
	if e.Event == "loss" {
		hs.drop(key)
		return nil
	}
	hs.put(e.host)
	return nil
}

// stop ends all sessions and waits for them.
func (hs *hosts) stop() {
	for _, s := range hs.sessions {
		s.cancel()
	}
	hs.wg.Wait()
}
