// Package broker is the embedded MQTT broker: mochi with what it needs to be trusted (BROKERS.md §1.5). It is the one owner
// of mochi and bbolt.
package broker

import (
	"context"
	"log/slog"
	"net"
	"net/netip"

	"rollcall/internal/stub"
)

// Config says where the broker listens and what it lets whom do.
type Config struct {
	Listen []string // addresses such as 127.0.0.1:1883; port 0 takes a free one
	Store  string   // file that retained messages survive a restart in; "" for none
	// Allow decides about every publish (write) and every subscription filter and delivery (read). Nil denies everything.
	Allow func(who Peer, topic string, write bool) bool
	// Restore may change a retained message as it is read from Store at start; an empty payload removes it.
	Restore func(topic string, payload []byte) []byte
	// MaxClients bounds connections; 0 means 10,000.
	MaxClients int
	Log        *slog.Logger
}

// Peer is who is connected.
type Peer struct {
	ClientID string
	Username string
	Addr     netip.AddrPort
}

// Loopback reports whether the peer is on this machine.
func (p Peer) Loopback() bool { return p.Addr.Addr().Unmap().IsLoopback() }

// Broker is the embedded broker.
type Broker struct{ _ int }

// New opens the store and the listeners, so that a taken port is an error here; connections are served by Run.
func New(c Config) (*Broker, error) { panic(stub.TODO) }

// Addrs returns the addresses that the broker listens on, in the order of Config.Listen.
func (b *Broker) Addrs() []net.Addr { panic(stub.TODO) }

// Run serves until ctx ends, then closes everything and returns nil.
func (b *Broker) Run(ctx context.Context) error { panic(stub.TODO) }

// Stats counts what the broker has done since it started.
type Stats struct {
	Clients, Retained                   int64
	Received, Sent                      int64
	Dropped, InflightDropped, Recovered int64 // messages lost to slow clients; crashes of the decoder that were caught
	Denied                              int64
}

// Stats returns the counts.
func (b *Broker) Stats() Stats { panic(stub.TODO) }
