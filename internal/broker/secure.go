package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Message is what is published in place of one that was refused.
type Message struct {
	Topic   string
	Payload []byte
}

// Secure is a listener for TLS, whose clients are who their certificates say.
type Secure struct {
	Listen string // address; port 0 takes a free one
	TLS    *tls.Config
	// Identify names the peer of a connection whose handshake is done; "" refuses it. It is called from many goroutines and
	// must not block.
	Identify func(tls.ConnectionState) string
}

// OpenSecure listens for TLS in addition to Config.Listen, before Run or while it runs, and returns the address. There is one
// such listener at a time.
func (b *Broker) OpenSecure(s Secure) (net.Addr, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, errors.New("broker is closed")
	case b.secure != nil:
		return nil, errors.New("broker listens for TLS already")
	}
	open, err := listen([]string{s.Listen})
	if err != nil {
		return nil, err
	}
	b.secure, b.secured = open[0], s
	if b.started {
		b.wg.Go(func() { b.accept(context.Background(), open[0], false) })
	}
	return open[0].Addr(), nil
}

// CloseSecure closes the listener for TLS and its connections.
func (b *Broker) CloseSecure() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.secure == nil {
		return
	}
	_ = b.secure.Close() // nothing could be done about it
	b.secure = nil
	for c := range b.conns {
		if c.tls != nil {
			_ = c.Close()
		}
	}
}

// Disconnect ends the connections of the identities for which gone returns true.
func (b *Broker) Disconnect(gone func(identity string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if id := c.identity.Load(); id != nil && gone(*id) {
			_ = c.Close()
		}
	}
}

// wrap makes a connection of the listener for TLS one that speaks it.
func (b *Broker) wrap(raw net.Conn, l net.Listener) (net.Conn, func(tls.ConnectionState) string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l != b.secure {
		return raw, nil
	}
	return tls.Server(raw, b.secured.TLS), b.secured.Identify
}

// shake does the TLS handshake, within the time for a CONNECT, and finds out who it is.
func (b *Broker) shake(c *conn) error {
	if c.tls == nil {
		return nil
	}
	if err := c.SetWriteDeadline(time.Now().Add(c.connect)); err != nil {
		return err
	}
	if err := c.tls.Handshake(); err != nil {
		return err
	}
	id := c.identify(c.tls.ConnectionState())
	if id == "" {
		return errors.New("certificate is nobody's")
	}
	c.peer.Identity = id
	c.identity.Store(&id)
	return nil
}

// belongsToOther reports whether the client ID is that of a client of another identity, connected or not.
func (b *Broker) belongsToOther(c *conn, id string) bool {
	old, ok := b.server.Clients.Get(id)
	if !ok || c.peer.Identity == "" {
		return false
	}
	holder, ok := old.Net.Conn.(*conn)
	return !ok || holder.peer.Identity != c.peer.Identity
}

// refuses reports whether a publish that is not allowed gets an answer in place of the end of its connection.
func (b *Broker) refuses(c *conn, topic string) bool {
	return c.peer.Identity != "" && b.config.Refuse != nil && b.isCommand(topic)
}

// publishRefusal publishes what is to be said of a refused message, which is acknowledged and goes nowhere.
func (b *Broker) publishRefusal(c *conn, pk packets.Packet) (packets.Packet, error) {
	for _, m := range b.config.Refuse(c.peer, pk.TopicName, slices.Clone(pk.Payload)) {
		out := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, TopicName: m.Topic, Payload: m.Payload, PacketID: 1}
		if !validTopic(m.Topic) || reserved(m.Topic) {
			continue
		}
		if err := b.server.InjectPacket(b.inline, out); err != nil {
			b.log.Warn("refusal not sent", "topic", m.Topic, "err", err)
		}
	}
	return pk, packets.CodeSuccessIgnore // mochi acknowledges it
}
