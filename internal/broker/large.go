package broker

import (
	"errors"
	"slices"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// A packet of more than maxKept is large. It exists so that a command which is too long gets an answer instead of the end of
// its connection; what is retained, queued or repeated never is large. mochi takes twice the size of a packet as soon as it
// has seen its header, hence the bound of how many there are at a time.
const (
	maxPacketSize = 2 << 20
	maxKept       = 128 << 10 // what every broker that we know accepts (BROKERS.md §2.4)
	maxLarge      = 4         // that are being read or passed on, for those who are trusted and for all others
)

var (
	errPacketTooLarge = errors.New("packet is too large")
	errPacketLength   = errors.New("length of packet has more than 4 bytes")
)

// slots are taken by connections for as long as a large packet is about. Strangers cannot take those of the house.
type slots struct{ house, others chan struct{} }

func newSlots() slots { return slots{make(chan struct{}, maxLarge), make(chan struct{}, maxLarge)} }

func (s slots) of(trusted bool) chan struct{} {
	if trusted {
		return s.house
	}
	return s.others
}

// frames follows the packets in a stream of bytes. The zero value is at the beginning of one.
type frames struct {
	kind   byte // first byte of the packet
	header int  // bytes of its header that have been seen
	length int  // of its body, as far as that is known
	rest   int  // bytes of the body that are to come
}

// scan goes through the next bytes and calls begin at the end of each header.
func (f *frames) scan(p []byte, begin func(kind byte, length int) error) error {
	for len(p) > 0 {
		if f.rest > 0 {
			n := min(f.rest, len(p))
			f.rest -= n
			p = p[n:]
			continue
		}
		b := p[0]
		p = p[1:]
		f.header++
		if f.header == 1 {
			f.kind, f.length = b, 0
			continue
		}
		f.length |= int(b&0x7f) << (7 * (f.header - 2))
		if b&0x80 != 0 {
			if f.header == 5 {
				return errPacketLength
			}
			continue
		}
		f.header, f.rest = 0, f.length
		if err := begin(f.kind, f.length); err != nil {
			return err
		}
	}
	return nil
}

// Read gives mochi what the client sends. It waits at the header of a large packet until there is room for that.
func (c *conn) Read(p []byte) (int, error) {
	if c.readErr != nil {
		return 0, c.readErr
	}
	if c.frames.rest == 0 {
		c.endLarge() // mochi reads on when it has worked off what it has
	}
	n, err := c.Conn.Read(p)
	if e := c.frames.scan(p[:n], c.beginPacket); e != nil {
		c.readErr, err = e, e
	}
	return n, err
}

// beginPacket decides about a packet by its header. Only a message may be large.
func (c *conn) beginPacket(kind byte, length int) error {
	if 1+length <= maxKept {
		return nil
	}
	if 1+length > maxPacketSize || kind>>4 != packets.Publish {
		return errPacketTooLarge
	}
	if !c.hasSlot {
		select {
		case c.slots <- struct{}{}:
			c.hasSlot = true
		case <-c.closing:
			return errPacketTooLarge
		}
	}
	return c.SetReadDeadline(time.Now().Add(c.patience.large)) // until mochi waits for the next packet
}

// endLarge makes room for another large packet.
func (c *conn) endLarge() {
	if c.hasSlot {
		c.hasSlot = false
		<-c.slots
	}
}

func isLarge(pk packets.Packet) bool { return 1+pk.FixedHeader.Remaining > maxKept }

// passOn gives a large message to the subscribers that are connected, with QoS 0: no copy waits in a queue or for an
// acknowledgement. It returns when it is written or in the bounds of conn.Write, so the sender pays for slow subscribers.
func (b *Broker) passOn(pk packets.Packet) {
	to := b.server.Topics.Subscribers(pk.TopicName)
	to.SelectShared()
	to.MergeSharedSelected()
	for id, sub := range to.Subscriptions {
		cl, ok := b.server.Clients.Get(id)
		if !ok || sub.NoLocal && pk.Origin == id || !b.mayRead(cl.Net.Conn.(*conn), pk.TopicName) {
			continue
		}
		if err := cl.WritePacket(largeFor(sub, pk)); err != nil {
			b.queueFull.Add(1)
			b.log.Debug("large message not sent", "client", id, "topic", pk.TopicName, "err", err)
		}
	}
}

// largeFor is a large message as a subscriber gets it. The payload is shared: writing only reads it.
func largeFor(sub packets.Subscription, pk packets.Packet) packets.Packet {
	out := pk
	out.FixedHeader = packets.FixedHeader{Type: packets.Publish}
	out.PacketID = 0
	for _, id := range sub.Identifiers {
		out.Properties.SubscriptionIdentifier = append(out.Properties.SubscriptionIdentifier, id)
	}
	slices.Sort(out.Properties.SubscriptionIdentifier)
	return out
}

// publishLarge is what OnPublish does with a large message.
func (b *Broker) publishLarge(cl *mqtt.Client, pk packets.Packet) error {
	if pk.FixedHeader.Retain && b.isCommand(pk.TopicName) {
		markRetained(&pk)
	} else if pk.FixedHeader.Retain {
		if n, ok := b.faults.allow("large"); ok {
			b.log.Warn("message not retained: it is too large", "topic", pk.TopicName, "client", cl.ID,
				"size", 1+pk.FixedHeader.Remaining, "max", maxKept, "suppressed", n)
		}
	}
	b.passOn(pk)
	return packets.CodeSuccessIgnore // mochi acknowledges it
}
