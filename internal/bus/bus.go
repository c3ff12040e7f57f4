// Package bus is the MQTT client of every program here: it connects and stays connected, subscribes again, publishes retained
// state again, and says "sent" only when the broker has acknowledged. It is the one owner of paho.
//
// It speaks MQTT 3.1.1 with clean sessions and QoS 0 and 1. paho connects once and is thrown away with its connection; the
// loop that connects again is ours, because paho's own reports messages as sent that no broker has seen (BROKERS.md P2).
// Every broker is held to be hostile: no frame reaches paho that has not been checked (conn.go).
//
// It must not know what the messages mean, and it imports no broker.
package bus

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Message is an MQTT message.
type Message struct {
	Topic    string
	Payload  []byte
	QoS      byte // 0 or 1
	Retained bool
}

// Config says where and how a Client connects.
type Config struct {
	URL      string // tcp://host:port, mqtt://host:port; ssl://, tls://, mqtts:// for TLS with the system's roots
	ClientID string // "" for a random one
	Username string
	Password string
	Will     *Message  // last will
	Last     []Message // published on a clean stop, before DISCONNECT
	// Stops returns what else is published then, before Last; what is not a valid message is left out. Called once, by the loop's goroutine.
	Stops func() []Message
	Log   *slog.Logger

	// OnUp is called after each successful connect, once the subscriptions are back and before kept messages are sent again;
	// it must not block. OnDown is called with the reason when a connection is lost or an attempt fails, and before OnUp
	// when the broker refuses a subscription that it granted before; it must not block either.
	OnUp   func()
	OnDown func(error)

	// Foreign marks a broker that was learnt from the network: packets above 1 MiB are refused, and Username and Password
	// must be empty. Frames that crash the client (BROKERS.md P1) are refused from every broker.
	Foreign bool
	// Direct has handlers called on the receiving path, without an inbox between: it saves a wake-up, and is for handlers that
	// only hand a message over. One that waits, or calls Publish or Subscribe, stops the connection.
	Direct bool
	// TLS replaces the system's roots for a URL that asks for TLS; nil: those. With ServerName "" it is that of the URL.
	TLS *tls.Config
	// Dial replaces net.Dialer.DialContext, so that a checked address and no other is connected to.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	once bool // Run ends when the connection fails or is lost
}

// Bounds. Times are those of a LAN: a broker that takes seconds to take a packet is gone.
const (
	connectTimeout = 5 * time.Second  // TCP, TLS and CONNACK together
	keepAlive      = 15 * time.Second // a dead broker is noticed after 25 s at most, a dead client after 22.5 s
	pingTimeout    = 5 * time.Second
	writeTimeout   = 2 * time.Second // one packet into the socket
	ackTimeout     = 5 * time.Second // SUBACK and UNSUBACK that nobody's ctx bounds
	stopTimeout    = time.Second     // queue and Last at a clean stop
	closeTimeout   = 250 * time.Millisecond
	stableAfter    = 5 * time.Second // a connection that lasts this long ends a row of failures
)

// Errors that callers test for.
var (
	// ErrNotConnected means that there is no connection to the broker, so nothing was sent.
	ErrNotConnected = errors.New("not connected")
	// ErrLost means that the connection was lost before the broker acknowledged; it may or may not have got the message.
	ErrLost = errors.New("connection lost before the broker acknowledged")
	// ErrStopped means that Run has ended.
	ErrStopped = errors.New("client is stopped")
)

// Client is one connection to a broker, made anew whenever it is lost. It is safe for concurrent use.
type Client struct {
	cfg Config
	at  endpoint
	log *slog.Logger
	in  inbox
	out outbox

	wire chan struct{}                   // holds one token: only its holder sends SUBSCRIBE or UNSUBSCRIBE
	subs atomic.Pointer[[]*subscription] // replaced, never changed, under mu

	mu      sync.Mutex
	started bool
	ended   bool
	cur     *session      // the connection, nil while there is none
	ready   bool          // cur's subscriptions are back
	up      chan struct{} // closed while ready
	why     error         // of the last failure
	stopped chan struct{} // closed when Run ends
	work    sync.WaitGroup
}

// New checks the configuration and returns a client that is not connected yet.
func New(c Config) (*Client, error) {
	at, err := parseURL(c.URL)
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.ClientID == "" {
		c.ClientID = randomID()
	}
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	cl := &Client{
		cfg:     c,
		at:      at,
		log:     log.With("broker", at.url),
		in:      inbox{queue: make(chan Message, inboxLimit)},
		wire:    make(chan struct{}, 1),
		up:      make(chan struct{}),
		stopped: make(chan struct{}),
	}
	cl.out.kept = make(map[string]*item)
	cl.subs.Store(new([]*subscription))
	return cl, nil
}

// Connected reports whether there is a connection at present, with the subscriptions in force.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ready
}

// Wait waits until there is a connection, with the reason of the last failed attempt if ctx ends first.
func (c *Client) Wait(ctx context.Context) error {
	for {
		c.mu.Lock()
		up := c.up
		c.mu.Unlock()
		select {
		case <-up:
			if c.Connected() {
				return nil
			}
		case <-c.stopped:
			return c.unreachable(ErrStopped)
		case <-ctx.Done():
			return c.unreachable(ctx.Err())
		}
	}
}

// Publish sends m and, for QoS 1, waits for the broker's PUBACK: nil means that the broker has it (BROKERS.md P2). It fails
// at once when there is no connection (ErrNotConnected), and when the connection is lost before the PUBACK (ErrLost). For
// QoS 0 nil means that it was written to the socket.
func (c *Client) Publish(ctx context.Context, m Message) error {
	if err := m.check(); err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return publishError(m.Topic, err)
	}
	return s.publish(ctx, m)
}

// Keep sends m as retained state and remembers it: it is sent again after every reconnect (then at QoS 1), the newest of each
// topic only. An empty payload empties the topic and is remembered until it has been acknowledged. It never blocks. A message
// that the broker closes the connection for three times running is given up and logged, until Keep is called again; a message
// that MQTT does not allow is logged and dropped.
func (c *Client) Keep(m Message) {
	m.Retained = true
	if len(m.Payload) == 0 {
		m.QoS = 1
	}
	if err := m.check(); err != nil {
		c.log.Error("message is not legal", "topic", m.Topic, "err", err)
		return
	}
	c.out.keep(m)
}

// Send queues m to be sent in order, without waiting; QoS 1 messages are sent again until the broker has acknowledged them.
// While there is no connection, or the broker is slow, the newest 10,000 messages wait, up to 8 MiB; the oldest is dropped then,
// counted, and logged once a minute. It never blocks.
// What MQTT does not allow, or the broker closes the connection for three times running, is logged, dropped and counted.
func (c *Client) Send(m Message) {
	if err := m.check(); err != nil {
		c.out.dropped.Add(1)
		c.log.Error("message is not legal", "topic", m.Topic, "err", err)
		return
	}
	c.out.send(m)
	c.sayDropped()
}

// Dropped returns how many messages Send and Offer have dropped.
func (c *Client) Dropped() uint64 { return c.out.dropped.Load() }

// Missed returns how many received messages were dropped because the handlers were too slow (see Subscribe).
func (c *Client) Missed() uint64 { return c.in.missed.Load() }
