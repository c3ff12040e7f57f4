package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/internal/table"
	"rollcall/reports/janitoo/lease"
	"rollcall/reports/janitoo/network"
	"rollcall/reports/janitoo/wire"
)

// janitoo is what the host does for the Janitoo network on its broker: its map and its leases. Both hear and speak over one
// connection of their own, whose handler works them; the clock is run's.
type janitoo struct {
	client *bus.Client
	table  *table.Table // nil: no leases
	log    *slog.Logger
	topic  string // of what it says of itself

	connected  atomic.Bool
	link, wake chan struct{} // size 1: the connection has come or gone; the time of the next tick may have changed

	mu     sync.Mutex
	net    *network.Network // nil: no map
	leases *lease.Server    // nil: no leases
}

// janitooSays is what stands on /<host>/janitoo.
type janitooSays struct {
	*network.Info
	Leases *int `json:"leases,omitempty"`
}

// sayEvery is how often what it says of itself may change.
const sayEvery = time.Second

// openJanitoo makes what the configuration asks for, and opens its files.
func (m *monitor) openJanitoo() (err error) {
	c := m.cfg.Janitoo
	if c.Address() == "" && !c.Leases {
		return nil
	}
	j := &janitoo{log: m.log.With("janitoo", c.Network), topic: "/" + m.cfg.Host + "/janitoo",
		link: make(chan struct{}, 1), wake: make(chan struct{}, 1)}
	m.janitoo = j
	cfg := bus.Config{URL: m.at.url, ClientID: "udpmon-" + m.id.String() + "-janitoo-network", Username: m.cfg.Broker.Username, Password: m.password,
		Log: j.log, OnUp: func() { j.linked(true) }, OnDown: func(error) { j.linked(false) }, Last: []bus.Message{{Topic: j.topic, QoS: 1, Retained: true}}}
	if err := j.openNetwork(c); err != nil {
		return err
	}
	if c.Leases {
		if err := j.openLeases(filepath.Join(m.cfg.StateDir, "janitoo.leases.db")); err != nil {
			return err
		}
	}
	var filters []string
	if j.net != nil {
		w := j.net.Will()
		will := bus.Message{Topic: w.Topic, Payload: w.Payload}
		cfg.Will, cfg.Last = &will, append(cfg.Last, will)
		filters = j.net.Filters()
	}
	if j.leases != nil {
		filters = append(filters, j.leases.Filters()...)
	}
	if j.client, err = bus.New(cfg); err != nil {
		return err
	}
	slices.Sort(filters)
	return j.client.Subscribe(context.Background(), 0, j.heard, slices.Compact(filters)...)
}

func (j *janitoo) openNetwork(c config.Janitoo) (err error) {
	if c.Address() == "" {
		return nil
	}
	role := network.Primary
	if c.Network == config.JanitooSecondary {
		role = network.Secondary
	}
	if j.net, err = network.New(network.Config{Role: role, Own: c.Address(), HomeID: c.HomeID}); err != nil {
		return fmt.Errorf("janitoo: %w", err)
	}
	return nil
}

func (j *janitoo) openLeases(path string) error {
	tab, stored, err := table.Open(path, "leases", lease.Check, j.log)
	if err != nil {
		return fmt.Errorf("janitoo.leases: %w", err)
	}
	j.table = tab
	var nodes func(int) []wire.Node
	if j.net != nil {
		nodes = j.net.WithClass // leases are asked with mu held, as the map is
	}
	if j.leases, err = lease.New(tab, stored, nodes); err != nil {
		return fmt.Errorf("janitoo.leases: %w", err)
	}
	return nil
}

// close gives the files back. J may be nil.
func (j *janitoo) close() {
	if j == nil || j.table == nil {
		return
	}
	if err := j.table.Close(); err != nil { // all that was answered is in it
		j.log.Warn("leases are not closed", "err", err)
	}
}

// linked notes that the connection has come or gone.
func (j *janitoo) linked(up bool) {
	j.connected.Store(up)
	poke(j.link)
}

// heard takes a message of the network. The client's handlers are called one at a time.
func (j *janitoo) heard(msg bus.Message) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	if j.net != nil {
		j.send(j.net.Heard(now, msg.Topic, msg.Payload))
	}
	if j.leases != nil {
		for _, m := range j.leases.Heard(now, msg.Topic, msg.Payload) {
			j.offer(m.Topic, m.Payload)
		}
	}
	poke(j.wake)
}

// send publishes what the map wants said, and logs what has changed. J.mu is held.
func (j *janitoo) send(all []network.Message) {
	for _, m := range all {
		j.offer(m.Topic, m.Payload)
	}
	for _, c := range j.net.Changes() {
		switch {
		case !c.Machine:
			j.log.Debug("node of Janitoo", "hadd", c.Hadd, "state", c.Node)
		case c.State == network.Started:
			j.log.Info("map of Janitoo's network", "state", c.State, "nodes", j.net.Info().NodesCount, "stands_in", c.Failed)
		default:
			j.log.Debug("map of Janitoo's network", "state", c.State, "stands_in", c.Failed)
		}
	}
}

// offer publishes one message: not retained, and not later, when there is no connection.
func (j *janitoo) offer(topic string, payload []byte) {
	if err := j.client.Offer(bus.Message{Topic: topic, Payload: payload}); err != nil {
		j.log.Debug("not said to Janitoo's network", "topic", topic, "err", err)
	}
}

// run starts the map with each connection, ticks it, and says how it is.
func (j *janitoo) run(ctx context.Context) error {
	tick, say := stoppedTimer(), time.NewTimer(0)
	defer tick.Stop()
	defer say.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-j.link:
			j.work((*network.Network).Stop, tick) // silence says nothing of the nodes while there is no connection
			if j.connected.Load() {
				j.work((*network.Network).Start, tick)
			}
		case <-j.wake:
			j.work(nil, tick)
		case <-tick.C:
			j.work((*network.Network).Tick, tick)
		case <-say.C:
			if now := j.says(); now != said {
				said = now
				j.client.Keep(bus.Message{Topic: j.topic, Payload: []byte(now), QoS: 1, Retained: true})
			}
			say.Reset(sayEvery)
		}
	}
}

// work does something with the map, if there is one, and sets the timer for the next tick.
func (j *janitoo) work(do func(*network.Network, time.Time) []network.Message, tick *time.Timer) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.net == nil {
		return
	}
	if do != nil {
		j.send(do(j.net, time.Now()))
	}
	tick.Stop()
	if next := j.net.Next(); !next.IsZero() {
		tick.Reset(time.Until(next))
	}
}

// says returns what stands on the topic.
func (j *janitoo) says() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var s janitooSays
	if j.net != nil {
		info := j.net.Info()
		s.Info = &info
	}
	if j.leases != nil {
		n := j.leases.Count()
		s.Leases = &n
	}
	doc, err := json.Marshal(s)
	if err != nil {
		return "" // it is made of numbers and words
	}
	return string(doc)
}
