package broker

import (
	"fmt"
	"strings"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

const (
	maxClientID      = 256  // bytes; the standard asks for 23
	maxSubscriptions = 1000 // of one client
)

// hook is what mochi asks and tells. Everything runs in the goroutine of a connection, deliveries in the publisher's.
type hook struct {
	mqtt.HookBase
	broker *Broker
}

// ID implements mqtt.Hook.
func (h *hook) ID() string { return "rollcall" }

// Provides implements mqtt.Hook.
func (h *hook) Provides(b byte) bool {
	switch b {
	case mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketSent, mqtt.OnPacketProcessed, mqtt.OnSubscribe, mqtt.OnACLCheck, mqtt.OnPublish, mqtt.OnPublishDropped, mqtt.OnRetainMessage:
		return true
	}
	return false
}

// OnConnect looks at a CONNECT and takes its last will out of mochi's hands.
func (h *hook) OnConnect(cl *mqtt.Client, _ packets.Packet) error {
	c := cl.Net.Conn.(*conn)
	c.peer.ClientID, c.peer.Username = cl.ID, string(cl.Properties.Username)
	c.keepAlive = time.Duration(cl.State.Keepalive) * time.Second
	c.will, cl.Properties.Will = cl.Properties.Will, mqtt.Will{}
	cl.Properties.Props.TopicAliasMaximum = 0 // mochi forgets that a message with a new alias was dropped
	if len(cl.ID) > maxClientID {
		return h.refuse(cl, packets.ErrClientIdentifierNotValid)
	}
	if c.will.Flag != 0 && (!validTopic(c.will.TopicName) || !h.broker.mayWrite(c, c.will.TopicName, "last will")) {
		return h.refuse(cl, packets.ErrNotAuthorized)
	}
	c.release = h.broker.sessions.lock(cl.ID) // from here on nobody else comes in with this ID
	if h.broker.usurps(c, cl.ID) || h.broker.belongsToOther(c, cl.ID) {
		h.broker.logRefusal(c, "", "client ID belongs to another client")
		return h.refuse(cl, packets.ErrClientIdentifierNotValid)
	}
	return nil
}

// refuse answers a CONNECT with code.
func (h *hook) refuse(cl *mqtt.Client, code packets.Code) error {
	if code == packets.ErrNotAuthorized && cl.Properties.ProtocolVersion < 5 {
		code = packets.ErrBadUsernameOrPassword // mochi makes 5, "not authorized", of this one only
	}
	if err := h.broker.server.SendConnack(cl, code, false, nil); err != nil {
		return fmt.Errorf("refuse connection: %w", err)
	}
	return code
}

// OnConnectAuthenticate lets everybody in: who may do what is decided by Allow.
func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnSessionEstablish makes way for a client: an older one with its ID is disconnected and gone, will and all, when it returns.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*conn)
	h.broker.takeOver(cl.ID)
	c.client = cl
}

// OnSessionEstablished lets the next client with this ID come.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.release()
	c.release = func() {}
}

// OnPacketRead ends connections that send what mochi would choke on or would leave unanswered, and hides packet IDs from it.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := cl.Net.Conn.(*conn)
	switch pk.FixedHeader.Type {
	case packets.Disconnect:
		c.clean = pk.ReasonCode != packets.CodeDisconnectWillMessage.Code
	case packets.Publish:
		if pk.TopicName != "" && !validTopic(pk.TopicName) {
			h.broker.logRefusal(c, pk.TopicName, "topic is not valid")
			return pk, packets.ErrRejectPacket
		}
		// mochi drops publishes to $SYS and never acknowledges them.
		if len(pk.TopicName) >= 4 && strings.EqualFold(pk.TopicName[:4], mqtt.SysPrefix) {
			h.broker.mayWrite(c, pk.TopicName, "publish")
			if pk.FixedHeader.Qos > 0 {
				return pk, packets.ErrRejectPacket
			}
		}
		if pk.FixedHeader.Qos == 1 {
			hideID(cl, &pk)
		}
	case packets.Subscribe, packets.Unsubscribe:
		hideID(cl, &pk)
	}
	return pk, nil
}

// OnPacketSent keeps the retained messages as they are while mochi looks for those that a subscription is to get, which it does right
// after its SUBACK.
func (h *hook) OnPacketSent(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	if c, ok := cl.Net.Conn.(*conn); ok && pk.FixedHeader.Type == packets.Suback {
		h.broker.retained.index.RLock()
		c.looking = true
	}
}

// OnPacketProcessed completes what mochi leaves undone.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, pk packets.Packet, err error) {
	if c, ok := cl.Net.Conn.(*conn); ok && c.looking && pk.FixedHeader.Type == packets.Subscribe {
		c.looking = false
		h.broker.retained.index.RUnlock()
	}
	switch {
	case pk.FixedHeader.Type == packets.Publish && pk.FixedHeader.Qos == 1 && err != nil:
		h.broker.dropUnsent(cl, pk.PacketID)
	case pk.FixedHeader.Type == packets.Subscribe && err == nil:
		h.broker.sendParents(cl, pk.Filters)
	}
}

// OnSubscribe blanks filters that cannot be, which are then refused one by one, and counts those that may not be.
func (h *hook) OnSubscribe(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	c := cl.Net.Conn.(*conn)
	room := maxSubscriptions - cl.State.Subscriptions.Len()
	for i, sub := range pk.Filters {
		_, known := cl.State.Subscriptions.Get(sub.Filter)
		switch {
		case !validFilter(sub.Filter):
			h.broker.logRefusal(c, sub.Filter, "filter is not valid")
			pk.Filters[i].Filter = ""
		case !known && room <= 0:
			h.broker.logRefusal(c, sub.Filter, "too many subscriptions")
			pk.Filters[i].Filter = ""
		case !h.broker.mayRead(c, sub.Filter):
			h.broker.logRefusal(c, sub.Filter, "subscription is not allowed")
		case !known:
			room--
		}
	}
	return pk
}

// OnACLCheck asks Allow about a publish, a filter or a delivery.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	c, ok := cl.Net.Conn.(*conn)
	if !ok {
		return false
	}
	if write {
		ok := h.broker.mayWrite(c, topic, "publish")
		c.refused = !ok && h.broker.refuses(c, topic)
		return ok || c.refused
	}
	if !h.broker.mayRead(c, topic) {
		return false
	}
	if cl.Closed() && cl.State.Inflight.Len() >= maxOffline {
		h.broker.queueFull.Add(1)
		return false
	}
	return true
}

// OnPublish passes a message on. It is not retained where it is a command, its sender is not trusted, or there is no room for
// one more.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if c, ok := cl.Net.Conn.(*conn); ok && c.refused {
		c.refused = false
		return h.broker.publishRefusal(c, pk)
	}
	if isLarge(pk) {
		return pk, h.broker.publishLarge(cl, pk)
	}
	if pk.FixedHeader.Retain && h.broker.isCommand(pk.TopicName) {
		return h.broker.publishCommand(pk)
	}
	if c, ok := cl.Net.Conn.(*conn); ok && pk.FixedHeader.Retain && !h.broker.trusts(c) {
		pk.FixedHeader.Retain = false
	}
	if pk.FixedHeader.Retain && !h.broker.retained.admit(pk.TopicName, len(pk.Payload)) {
		pk.FixedHeader.Retain = false
		if n, ok := h.broker.faults.allow("retained"); ok {
			h.broker.log.Warn("message not retained: there are too many", "topic", pk.TopicName, "client", cl.ID,
				"max", maxRetained, "max_bytes", maxRetainedBytes, "suppressed", n)
		}
	}
	if pk.FixedHeader.Retain {
		h.broker.retained.index.Lock() // until OnRetainMessage: there is nothing in between
	}
	return pk, nil
}

// OnPublishDropped says that a client has been too slow.
func (h *hook) OnPublishDropped(cl *mqtt.Client, pk packets.Packet) {
	if n, ok := h.broker.faults.allow("dropped " + cl.ID); ok {
		h.broker.log.Warn("message to slow client dropped", "client", cl.ID, "peer", cl.Net.Remote, "topic", pk.TopicName, "suppressed", n)
	}
}

// OnRetainMessage notes that a topic's retained message has changed.
func (h *hook) OnRetainMessage(_ *mqtt.Client, pk packets.Packet, _ int64) {
	h.broker.retained.index.Unlock()
	h.broker.retained.changed(pk.TopicName, pk.Expiry > 0)
}

// mayWrite asks Allow, and counts and logs a refusal.
func (b *Broker) mayWrite(c *conn, topic, what string) bool {
	if !reserved(topic) && b.allow(c, topic, true) {
		return true
	}
	b.logRefusal(c, topic, what+" is not allowed")
	return false
}

func (b *Broker) mayRead(c *conn, filter string) bool { return b.allow(c, shared(filter), false) }

// allow asks Allow; one that panics has not allowed it.
func (b *Broker) allow(c *conn, topic string, write bool) (ok bool) {
	if b.config.Allow == nil {
		return false
	}
	defer func() {
		if r := recover(); r != nil {
			ok = false
			b.logPanic(c, "allow", r)
		}
	}()
	return b.config.Allow(c.peer, topic, write)
}

// logRefusal counts what a client may not do and logs it once a minute for each client (M8).
func (b *Broker) logRefusal(c *conn, topic, why string) {
	b.denied.Add(1)
	if len(topic) > maxClientID {
		topic = topic[:maxClientID] + "…"
	}
	if n, ok := b.refusals.allow(c.addr.Addr().String() + " " + c.peer.ClientID); ok {
		b.log.Warn(why, "topic", topic, "peer", c.addr, "client", c.peer.ClientID, "username", c.peer.Username, "suppressed", n)
	}
}
