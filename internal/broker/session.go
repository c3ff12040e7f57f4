package broker

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	maxSessionAge = time.Hour       // of a persistent session without a connection
	maxSessions   = 100             // of these
	maxOffline    = 1000            // messages that are kept for one
	takeOverTime  = 2 * time.Second // for an older client with the same ID to be gone
)

// sessions lets one client at a time come in with a client ID: mochi mixes them up otherwise.
type sessions struct {
	mu   sync.Mutex
	busy map[string]chan struct{}

	limit sync.Mutex // held while sessions are counted and the oldest dropped
}

// lock waits until no other client is coming in with id and returns the function that ends it.
func (s *sessions) lock(id string) (unlock func()) {
	for {
		if unlock := s.tryLock(id); unlock != nil {
			return unlock
		}
		s.mu.Lock()
		other := s.busy[id]
		s.mu.Unlock()
		if other != nil {
			<-other // ends: whoever holds it waits for an older client and writes CONNACK, both with limits
		}
	}
}

// tryLock is lock that returns nil instead of waiting.
func (s *sessions) tryLock(id string) (unlock func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.busy[id]; ok {
		return nil
	}
	if s.busy == nil {
		s.busy = map[string]chan struct{}{}
	}
	mine := make(chan struct{})
	s.busy[id] = mine
	return func() {
		s.mu.Lock()
		delete(s.busy, id)
		s.mu.Unlock()
		close(mine)
	}
}

// usurps reports whether a newcomer that is not trusted wants the ID of a client that is, connected or not, or a guest that of
// a client that is none.
func (b *Broker) usurps(c *conn, id string) bool {
	old, ok := b.server.Clients.Get(id)
	if !ok || b.trusts(c) {
		return false
	}
	holder, ok := old.Net.Conn.(*conn)
	return !ok || b.trusts(holder) || (c.peer.Guest && !holder.peer.Guest)
}

// takeOver disconnects the client id, if there is one, and waits until it is gone and its last will sent.
func (b *Broker) takeOver(id string) {
	old, ok := b.server.Clients.Get(id)
	if !ok {
		return
	}
	c, ok := old.Net.Conn.(*conn)
	if !ok {
		return
	}
	if old.Properties.ProtocolVersion == 5 && !old.Closed() {
		_ = b.server.DisconnectClient(old, packets.ErrSessionTakenOver) // always an error: this one
	}
	old.Stop(packets.ErrSessionTakenOver)
	select {
	case <-c.done:
	case <-time.After(takeOverTime):
		b.log.Warn("old connection does not end", "client", id, "peer", c.addr)
	}
}

// guard keeps a panic to the connection that has caused it.
func (b *Broker) guard(c *conn, where string) {
	if r := recover(); r != nil {
		b.recovered.Add(1)
		b.logPanic(c, where, r)
	}
}

func (b *Broker) logPanic(c *conn, where string, r any) {
	if n, ok := b.faults.allow("panic"); ok {
		b.log.Warn("recovered from a crash", "where", where, "panic", r, "peer", c.addr, "client", c.peer.ClientID,
			"suppressed", n, "stack", string(debug.Stack()))
	}
}

// finish sends the last will of a connection that has ended without DISCONNECT, and removes what mochi leaves behind when a
// connection ends by a crash or an error before its session is in use.
func (b *Broker) finish(c *conn) {
	cl := c.client
	if cl == nil {
		return
	}
	cl.Stop(nil)
	if now, ok := b.server.Clients.Get(cl.ID); ok && now == cl {
		if expires(cl) {
			b.forget(cl)
		} else {
			b.limitSessions()
		}
	}
	if c.will.Flag == 0 || c.clean || !b.mayWrite(c, c.will.TopicName, "last will") {
		return
	}
	pk := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Retain: c.will.Retain && (b.trusts(c) || b.isCommand(c.will.TopicName)), Qos: c.will.Qos},
		TopicName:   c.will.TopicName,
		Payload:     c.will.Payload,
		PacketID:    uint16(c.will.Qos), // only has to be there
		Properties:  packets.Properties{User: c.will.User},
	}
	if err := b.server.InjectPacket(b.inline, pk); err != nil {
		b.log.Warn("last will not sent", "client", cl.ID, "topic", c.will.TopicName, "err", err)
	}
}

// expires reports whether a client's session ends with its connection.
func expires(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval == 0
	}
	return cl.Properties.Clean
}

// limitSessions drops the oldest sessions without a connection while there are too many.
func (b *Broker) limitSessions() {
	b.sessions.limit.Lock()
	defer b.sessions.limit.Unlock()
	for {
		var oldest *mqtt.Client
		offline := 0
		for _, cl := range b.server.Clients.GetAll() {
			if cl.Closed() {
				offline++
				if oldest == nil || cl.StopTime() < oldest.StopTime() {
					oldest = cl
				}
			}
		}
		if offline <= maxSessions || !b.dropSession(oldest) {
			return
		}
	}
}

// dropSession forgets a session and returns true, unless its client is back or about to be.
func (b *Broker) dropSession(cl *mqtt.Client) bool {
	unlock := b.sessions.tryLock(cl.ID)
	if unlock == nil {
		return false
	}
	defer unlock()
	if now, ok := b.server.Clients.Get(cl.ID); ok && now == cl && cl.Closed() {
		b.forget(cl)
	}
	return true
}

// forget removes all that mochi knows of a client.
func (b *Broker) forget(cl *mqtt.Client) {
	cl.ClearInflights()
	b.server.UnsubscribeClient(cl)
	b.server.Clients.Delete(cl.ID)
}

// housekeep drops what has expired. mochi's own loop copies every client and retained message once a second; this one looks
// once a minute, and at retained messages only if one of them can expire.
func (b *Broker) housekeep(ctx context.Context) {
	t := time.NewTicker(time.Minute)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-t.C:
			b.expire(now.Unix())
		}
	}
}

// expire drops sessions, queued and retained messages whose time is over at now, in Unix seconds.
func (b *Broker) expire(now int64) {
	for _, cl := range b.server.Clients.GetAll() {
		if cl.State.Inflight.Len() > 0 {
			cl.ClearExpiredInflights(now, 0)
		}
		age := int64(maxSessionAge / time.Second)
		if cl.Properties.ProtocolVersion == 5 {
			age = min(age, int64(cl.Properties.Props.SessionExpiryInterval))
		}
		if cl.Closed() && now-cl.StopTime() > age {
			b.dropSession(cl)
		}
	}
	b.retained.expire(now)
}
