package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
)

const (
	defaultMaxClients = 1000
	maxInflight       = 65_535   // M2: packet IDs are 16 bits, so this is all there can be
	maxQueued         = 16 << 10 // M3: messages that wait to be written to one client
)

// ErrGuests is that an address of Config.Guests can't be listened on.
var ErrGuests = errors.New("listen for guests")

// Config says where the broker listens and what it lets whom do.
type Config struct {
	Listen []string // addresses such as 127.0.0.1:1883; port 0 takes a free one
	// Guests are addresses for clients that can't say who they are. Whoever comes in there is Peer.Guest, from this machine too,
	// and never trusted.
	Guests []string
	Store  string // file that retained messages survive a restart in; "" for none
	// Allow decides about every publish and last will (write), and every subscription filter and delivery (read). For a
	// subscription it is given the filter itself, wildcards and all; each delivery is checked again with its own topic. It
	// is called from many goroutines and must not block. Nil denies everything.
	Allow func(who Peer, topic string, write bool) bool
	// Trusted says who is one of the house; nil: everybody. Nobody else can take over the client ID of one who is, have a
	// message retained, or be on the last quarter of MaxClients. It is called from many goroutines and must not block.
	Trusted func(who Peer) bool
	// Command says which topics are those of commands; nil: none. What is published there with the retain flag, by whomever, is
	// not retained, and delivered with the flag set, so that the service can refuse it. An empty payload with the flag clears
	// what was retained before and is not delivered. It is called from many goroutines and must not block.
	Command func(topic string) bool
	// Refuse returns what is published in place of a command that the peer, one with an Identity, may not give; the command is
	// acknowledged and goes nowhere. Nil: the connection is closed, as for any other topic. It is called from many goroutines
	// and must not block.
	Refuse func(who Peer, topic string, payload []byte) []Message
	// Restore may change a retained message as it is read from Store at start; an empty payload removes it.
	Restore func(topic string, payload []byte) []byte
	// MaxClients bounds connections; 0 means 1,000. One address that is not trusted may have 64 of them.
	MaxClients int
	Log        *slog.Logger
}

// Peer is who is connected.
type Peer struct {
	ClientID string
	Username string // as the client says: nothing has checked it
	Identity string // what Identify made of its certificate; "": it came in without TLS
	Addr     netip.AddrPort
	Local    netip.AddrPort // our end of the connection
	Guest    bool           // it came in at one of Config.Guests
}

// Loopback reports whether the peer is on this machine: a program that connects to one of its own machine's addresses comes
// from that address, and from elsewhere no TCP connection can.
func (p Peer) Loopback() bool {
	from := p.Addr.Addr().Unmap()
	return from.IsLoopback() || (from.IsValid() && from == p.Local.Addr().Unmap())
}

// Broker is the embedded broker. It is safe for concurrent use.
type Broker struct {
	config    Config
	log       *slog.Logger
	server    *mqtt.Server
	inline    *mqtt.Client // publishes last wills
	listeners []net.Listener
	store     *store // nil: none
	retained  *retained
	sessions  sessions
	patience  patience
	slots     slots
	refusals  *limiter // log lines about refused packets
	faults    *limiter // log lines about other trouble of clients

	mu      sync.Mutex
	secure  net.Listener // for TLS; nil: none
	secured Secure
	conns   map[*conn]struct{}
	others  int                // of conns: not trusted
	crowd   map[netip.Addr]int // of others, by remote address
	closed  bool
	started bool
	wg      sync.WaitGroup // accept loops and connections

	recovered, denied, queueFull, turned atomic.Int64
}

// New opens the store and the listeners, so that a taken port is an error here; connections are served by Run. A broker
// that is not Run is to be Closed.
func New(c Config) (*Broker, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxClients < 0 {
		return nil, fmt.Errorf("max clients %d: must be 0 (for %d) or more", c.MaxClients, defaultMaxClients)
	}
	if c.MaxClients == 0 {
		c.MaxClients = defaultMaxClients
	}
	b := &Broker{
		config:   c,
		patience: defaultPatience(),
		log:      c.Log,
		conns:    map[*conn]struct{}{},
		crowd:    map[netip.Addr]int{},
		slots:    newSlots(),
		refusals: newLimiter(time.Minute),
		faults:   newLimiter(time.Minute),
	}
	b.server = mqtt.New(&mqtt.Options{Capabilities: capabilities(c), Logger: slog.New(&mochiLog{to: c.Log.Handler(), limit: b.faults})})
	b.inline = b.server.NewClient(nil, mqtt.LocalListener, mqtt.InlineClientId, true)
	b.retained = newRetained(b.server, b.log)
	if err := b.server.AddHook(&hook{broker: b}, nil); err != nil {
		return nil, err
	}
	var err error
	if len(c.Listen) == 0 {
		return nil, errors.New("no address to listen on")
	}
	if b.listeners, err = listen(c.Listen); err != nil {
		return nil, err
	}
	guests, err := listen(c.Guests)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrGuests, err), b.Close())
	}
	b.listeners = append(b.listeners, guests...)
	if err := b.load(); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// capabilities are mochi's limits. No message expires by itself: mochi's default drops retained state after a day.
func capabilities(c Config) *mqtt.Capabilities {
	m := mqtt.NewDefaultServerCapabilities()
	m.MaximumClients = int64(c.MaxClients)
	m.MaximumMessageExpiryInterval = 0
	m.MaximumClientWritesPending = maxQueued
	m.MaximumSessionExpiryInterval = uint32(maxSessionAge / time.Second)
	m.MaximumPacketSize = maxPacketSize
	m.ReceiveMaximum = maxInflight
	m.MaximumInflight = maxInflight
	m.TopicAliasMaximum = 0 // mochi asks the ACL before it resolves an alias
	return m
}

// Addrs returns the addresses that the broker listens on, in the order of Config.Listen, and those of Config.Guests after them.
func (b *Broker) Addrs() []net.Addr {
	addrs := make([]net.Addr, len(b.listeners))
	for i, l := range b.listeners {
		addrs[i] = l.Addr()
	}
	return addrs
}

// Run serves until ctx ends, then closes everything and returns nil, or what went wrong in writing the store a last time.
func (b *Broker) Run(ctx context.Context) error {
	b.mu.Lock()
	if b.started || b.closed {
		b.mu.Unlock()
		return errors.New("broker is running or closed already")
	}
	b.started = true
	for i, l := range b.listeners {
		b.wg.Go(func() { b.accept(ctx, l, i >= len(b.config.Listen)) })
	}
	if l := b.secure; l != nil {
		b.wg.Go(func() { b.accept(ctx, l, false) })
	}
	b.mu.Unlock()

	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var keepers sync.WaitGroup
	keepers.Go(func() { b.housekeep(inner) })
	keepers.Go(func() { b.retained.run(inner, b.store) })
	b.log.Info("broker listens", "addrs", b.Addrs(), "retained", b.server.Topics.Retained.Len())
	<-ctx.Done()
	b.disconnect()
	b.wg.Wait() // last wills have been sent
	stop()
	keepers.Wait()
	return b.Close()
}

// disconnect closes the listeners and all connections and takes no new ones.
func (b *Broker) disconnect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, l := range b.listeners {
		_ = l.Close() // nothing could be done about it
	}
	if b.secure != nil {
		_ = b.secure.Close()
		b.secure = nil
	}
	for c := range b.conns {
		_ = c.Close()
	}
}

// Close releases the listeners and the store of a broker that is not running. Run does it by itself.
func (b *Broker) Close() error {
	b.disconnect()
	if b.store == nil {
		return nil
	}
	return errors.Join(b.retained.flush(b.store), b.store.close())
}

// trusts asks Trusted, but for guests; one that panics trusts nobody.
func (b *Broker) trusts(c *conn) (ok bool) {
	if c.peer.Guest {
		return false
	}
	if b.config.Trusted == nil {
		return true
	}
	defer func() {
		if r := recover(); r != nil {
			ok = false
			b.logPanic(c, "trusted", r)
		}
	}()
	return b.config.Trusted(c.peer)
}

// Stats counts what the broker has done since it started.
type Stats struct {
	Clients, Retained                   int64
	Received, Sent                      int64
	Dropped, InflightDropped, Recovered int64 // messages lost to slow clients; crashes of the decoder that were caught
	Denied                              int64 // publishes, last wills and subscriptions that were refused
	Turned                              int64 // connections closed at once, because there were too many
}

// Stats returns the counts.
func (b *Broker) Stats() Stats {
	i := b.server.Info.Clone()
	return Stats{
		Clients:         i.ClientsConnected,
		Retained:        int64(b.server.Topics.Retained.Len()),
		Received:        i.MessagesReceived,
		Sent:            i.MessagesSent,
		Dropped:         i.MessagesDropped,
		InflightDropped: i.InflightDropped + b.queueFull.Load(),
		Recovered:       b.recovered.Load(),
		Denied:          b.denied.Load(),
		Turned:          b.turned.Load(),
	}
}
