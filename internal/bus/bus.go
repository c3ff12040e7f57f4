// Package bus is the MQTT client of every program here: it connects and stays connected, subscribes again, publishes retained
// state again, and says "sent" only when the broker has acknowledged. It is the one owner of paho.
package bus

import (
	"context"
	"log/slog"
	"net"

	"rollcall/internal/stub"
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
	URL      string // tcp://host:port, mqtt://host:port; ssl://, mqtts:// for TLS with the system's roots
	ClientID string // "" for a random one
	Username string
	Password string
	Will     *Message  // last will
	Last     []Message // published on a clean stop, before DISCONNECT
	Log      *slog.Logger

	// OnUp is called after each successful connect, once the subscriptions are back and before kept messages are sent again;
	// it must not block. OnDown is called with the reason when a connection is lost or an attempt fails.
	OnUp   func()
	OnDown func(error)

	// Foreign marks a broker that was learnt from the network: the connection is filtered against frames that crash the
	// client (BROKERS.md P1), and Username and Password must be empty.
	Foreign bool
	// Dial replaces net.Dialer.DialContext, so that a checked address and no other is connected to.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client is one connection to a broker, made anew whenever it is lost. It is safe for concurrent use.
type Client struct{ _ int }

// New checks the configuration and returns a client that is not connected yet.
func New(c Config) (*Client, error) { panic(stub.TODO) }

// Run connects and keeps the connection until ctx ends, then publishes Last, disconnects and returns nil. Losing the broker
// is not an error: it tries again, with jitter, after 100 ms at first and 5 s at most.
func (c *Client) Run(ctx context.Context) error { panic(stub.TODO) }

// Connected reports whether there is a connection at present.
func (c *Client) Connected() bool { panic(stub.TODO) }

// Wait waits until there is a connection, with the reason of the last failed attempt if ctx ends first.
func (c *Client) Wait(ctx context.Context) error { panic(stub.TODO) }

// Subscribe receives messages that match the filters, now and after every reconnect. Handlers of one client are called one
// at a time, in the order of arrival, and may call Publish, Keep and Send. While there is a connection it waits for the
// SUBACK and returns an error that names the filters that the broker refused (BROKERS.md P3); a refusal on a later reconnect
// is logged and reported to OnDown.
func (c *Client) Subscribe(ctx context.Context, qos byte, handler func(Message), filters ...string) error {
	panic(stub.TODO)
}

// Publish sends m and, for QoS 1, waits for the broker's PUBACK: nil means that the broker has it (BROKERS.md P2). It fails
// at once when there is no connection, and when the connection is lost before the PUBACK.
func (c *Client) Publish(ctx context.Context, m Message) error { panic(stub.TODO) }

// Keep sends m as retained state and remembers it: it is sent again after every reconnect, the newest of each topic only. An
// empty payload empties the topic and is remembered until it has been acknowledged. It never blocks.
func (c *Client) Keep(m Message) { panic(stub.TODO) }

// Send queues m to be sent in order, without waiting. While there is no connection the newest 1,000 messages are kept, then
// the oldest is dropped and counted. It never blocks.
func (c *Client) Send(m Message) { panic(stub.TODO) }

// Dropped returns how many messages Send has dropped.
func (c *Client) Dropped() uint64 { panic(stub.TODO) }

// Request publishes m, waits for the first message on the topic reply for which match returns true, and returns it. It
// subscribes before it publishes.
func (c *Client) Request(ctx context.Context, m Message, reply string, match func(Message) bool) (Message, error) {
	panic(stub.TODO)
}
