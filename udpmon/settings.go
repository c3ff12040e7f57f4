package main

import (
	"context"
	"reflect"
	"runtime"
	"slices"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// config returns the configuration in force.
func (m *monitor) config() config.Config {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings
}

// reload puts cfg in force if it changes only what needs no new sockets, and says whether it did.
func (m *monitor) reload(cfg config.Config) bool {
	soft := m.config()
	soft.Discovery.Interfaces, soft.Discovery.ReplyTo, soft.Discovery.Legacy = cfg.Discovery.Interfaces, cfg.Discovery.ReplyTo, cfg.Discovery.Legacy
	soft.Discovery.AuthorizedOperators, soft.Agents = cfg.Discovery.AuthorizedOperators, cfg.Agents
	if !slices.EqualFunc(soft.Faces, cfg.Faces, func(a, b config.Face) bool { return a.Name == b.Name && a.Options.Equal(b.Options) }) {
		return false
	}
	soft.Faces = cfg.Faces
	if !reflect.DeepEqual(soft, cfg) {
		return false
	}
	if password, err := readPassword(cfg.Broker.PasswordFile); err != nil || password != m.password {
		return false
	}
	guard, err := discover.NewGuard(cfg.Discovery.ReplyTo, nil)
	if err != nil {
		return false // config has checked the list; newMonitor will say what is wrong
	}
	all, open, err := loadOperators(cfg)
	if err != nil {
		return false // check says what is wrong
	}
	m.mu.Lock()
	m.settings, m.mistake = cfg, ""
	m.look(all, open)
	if err := m.secure(); err != nil {
		m.log.Error("broker is not open to operators", "err", err)
	}
	m.sayOpenness()
	m.responder.Reload(cfg.Discovery.Interfaces, m.legacy, m.open, m.mayAsk, guard)
	m.mu.Unlock()
	m.describe()
	return true
}

// look puts the operators in force, and says whether that changes who is answered. A host that names its operators answers
// neither unsigned requests nor the original form (PROTOCOL.md §2), until legacy says otherwise. m.mu is held, or nobody else
// there yet.
func (m *monitor) look(all *trust.Operators, open bool) (changed bool) {
	legacy := open
	if l := m.settings.Discovery.Legacy; l != nil {
		legacy = *l
	}
	changed = open != m.open || legacy != m.legacy || !slices.Equal(lines(all), lines(m.operators.Load()))
	m.open, m.legacy = open, legacy
	m.operators.Store(all)
	m.strict.Store(!open && !legacy)
	return changed
}

// sayOpenness says in the log who is answered.
func (m *monitor) sayOpenness() {
	file := m.settings.Discovery.AuthorizedOperators
	switch {
	case m.open:
		m.log.Warn("host is open: anyone on its networks may ask who it is", "close_with", file)
	case m.legacy:
		m.log.Warn("requests in the original form are answered although authorized_operators exists", "file", file)
	default:
		m.log.Info("host obeys the operators of its file; unsigned requests are not answered", "file", file,
			"operators", obeyed(m.operators.Load()), "fingerprint", m.key.Public().Fingerprint(), "broker_tls", m.safe.String())
	}
}

// lookAgain puts a file of operators in force that has come or gone since.
func (m *monitor) lookAgain() {
	m.mu.Lock()
	defer m.mu.Unlock()
	all, open, err := loadOperators(m.settings)
	if err != nil {
		if err.Error() != m.mistake {
			m.mistake = err.Error()
			m.log.Error("file of operators refused, the old one stays in force", "err", err)
		}
		if !m.open {
			return
		}
		all, open = &trust.Operators{}, false // there is a file, so that the host is open no longer
	} else {
		m.mistake = ""
	}
	if m.look(all, open) {
		if err := m.secure(); err != nil {
			m.log.Error("broker is not open to operators", "err", err)
		}
		m.sayOpenness()
		m.responder.Reload(m.settings.Discovery.Interfaces, m.legacy, m.open, m.mayAsk, nil)
	}
}

// gather is for how long changes of services are worked off together: each makes the replies anew, and a sweep that has some
// of the old pages begins again.
const gather = 10 * time.Millisecond

// refresh hands every change of the services to the responder, and looks once a minute at what changes without being told.
func (m *monitor) refresh(ctx context.Context) error {
	minute := m.minute
	if minute == nil {
		t := time.NewTicker(time.Minute)
		defer t.Stop()
		minute = t.C
	}
	pause := time.NewTimer(time.Hour)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.services.changed:
			pause.Reset(gather)
			select {
			case <-ctx.Done():
				return nil
			case <-pause.C:
			}
		case <-minute:
			m.everyMinute()
		}
		m.describe()
	}
}

func (m *monitor) everyMinute() {
	if left := m.services.expire(m.now()); left > 0 {
		m.log.Warn("services are left out: there are too many", "max", maxServices, "messages", left)
	}
	if m.services.settled(m.now()) {
		m.viewers.each((*view).prune)
	}
	if m.metrics != nil {
		m.metrics.rest(time.Now())
	}
	m.lookAgain()
	poke(m.hosts.news)
	poke(m.expired)
}

// describe tells the responder what the host says of itself from now on.
func (m *monitor) describe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	addrs := localAddrs()
	m.responder.Update(discover.Host{
		ID: m.id, Hostname: m.cfg.Host, Addrs: addrs, ExtAddr: m.ext.get(),
		Model: m.facts.model, OS: m.facts.os, Arch: runtime.GOARCH, Version: version, BootID: m.facts.bootID, Started: m.started,
		Brokers: append(m.safeURLs(addrs), m.at.told(addrs)...), LoopbackOnly: m.at.loopback && !m.safe.IsValid(), Open: m.open, Services: m.services.listed(),
	})
}

// seldom lets a log line about a thing through once a minute. It is safe for concurrent use.
type seldom struct {
	mu   sync.Mutex
	next map[string]time.Time
}

// allow reports whether to log now; keys are the program's own, so that they are few.
func (s *seldom) allow(key string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next[key]) {
		return false
	}
	if s.next == nil {
		s.next = map[string]time.Time{}
	}
	s.next[key] = now.Add(time.Minute)
	return true
}
