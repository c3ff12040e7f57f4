package broker

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// sendWithID sends a SUBSCRIBE (0x82) or UNSUBSCRIBE (0xa2) for one filter and returns the acknowledgement, past deliveries.
func (c *raw) sendWithID(first, version byte, id uint16, filter string) frame {
	c.t.Helper()
	body := binary.BigEndian.AppendUint16(nil, id)
	if version == 5 {
		body = append(body, 0)
	}
	body = append(body, str(filter)...)
	want := byte(unsuback)
	if first == 0x82 {
		body, want = append(body, 1), suback
	}
	c.send(wrap(first, body))
	return c.await(want)
}

// await returns the next frame of a kind and drops others; it acknowledges nothing.
func (c *raw) await(kind byte) frame {
	c.t.Helper()
	for {
		f, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for a frame of kind %d: %v", kind, err)
		}
		if f.kind == kind {
			return f
		}
	}
}

// packetID of a PUBLISH with QoS 1, or of an acknowledgement.
func (f frame) packetID() uint16 {
	if f.kind == publish {
		return binary.BigEndian.Uint16(f.body[2+len(f.topic()):])
	}
	return binary.BigEndian.Uint16(f.body)
}

// The packet IDs of a client are its own (MQTT 2.2.1): one may be that of a delivery which the client has yet to acknowledge.
// mochi has one table for both and refuses the SUBSCRIBE or forgets the delivery.
func TestPacketIDsOfBothSides(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]byte{"v3.1.1": 4, "v5": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, addr := start(t, Config{Allow: allowAll})
			pub := dial(t, addr)
			pub.connect("pub")
			pub.publish("r", "kept", 1, true)
			pub.ping() // a PUBACK comes before the deliveries
			session := connectFrame{id: "c", version: version, persistent: true}
			if version == 5 {
				session.properties = []byte{0x11, 0, 0, 0, 60} // session expiry
			}
			c := dial(t, addr)
			c.open(session)
			c.sendWithID(0x82, version, 1, "r")
			id := c.await(publish).packetID() // is not acknowledged
			for _, filter := range []string{"a", "b"} {
				ack := c.sendWithID(0x82, version, id, filter)
				if code := ack.body[len(ack.body)-1]; ack.packetID() != id || code != 1 {
					t.Errorf("SUBSCRIBE %s with the ID of a delivery: SUBACK %x, want ID %d and code 1", filter, ack.body, id)
				}
			}
			ack := c.sendWithID(0xa2, version, id, "a")
			if code := ack.body[len(ack.body)-1]; ack.packetID() != id || version == 5 && code != 0 {
				t.Errorf("UNSUBSCRIBE with the ID of a delivery: UNSUBACK %x, want ID %d and success", ack.body, id)
			}
			c.send(publishWithID(version, "up", id))
			if got := c.await(puback).packetID(); got != id {
				t.Errorf("PUBACK for %d, want %d", got, id)
			}
			pub.publish("a", "unsubscribed", 1, false)
			pub.publish("b", "subscribed", 1, false)
			f := c.await(publish)
			if f.topic() != "b" {
				t.Errorf("delivery of %s, want b", f.topic())
			}
			c.send(binary.BigEndian.AppendUint16([]byte{0x40, 2}, f.packetID()))
			c.ping()
			_ = c.conn.Close()

			again := dial(t, addr)
			if !again.open(session) {
				t.Fatal("no session present")
			}
			f = again.await(publish)
			if f.packetID() != id || f.topic() != "r" || f.flags&8 == 0 {
				t.Errorf("after the reconnect: delivery %d of %s, flags %x; want %d of r again, with DUP", f.packetID(), f.topic(), f.flags, id)
			}
		})
	}
}

func publishWithID(version byte, topic string, id uint16) []byte {
	body := binary.BigEndian.AppendUint16(str(topic), id)
	if version == 5 {
		body = append(body, 0)
	}
	return wrap(0x32, append(body, "x"...))
}

// A request that is sent right behind another has its own ID in its answer.
func TestPacketIDsInARow(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	c := dial(t, addr)
	c.connect("c")
	c.subscribe("a", 1)
	const n = 500
	var all []byte
	for id := range uint16(n) {
		all = append(all, publishFrame("a", "x", 1, false, id+1)...)
	}
	c.send(all)
	for want := range uint16(n) {
		if got := c.await(puback).packetID(); got != want+1 {
			t.Fatalf("PUBACK for %d, want %d", got, want+1)
		}
	}
}

// A PUBLISH with QoS 1 and the ID 0 is a protocol error still.
func TestPacketIDZero(t *testing.T) {
	t.Parallel()
	_, addr := start(t, Config{Allow: allowAll})
	for _, b := range [][]byte{publishFrame("a", "x", 1, false, 0), wrap(0x82, append(append([]byte{0, 0}, str("a")...), 1))} {
		c := dial(t, addr)
		c.connect("c")
		c.send(b)
		c.expectClosed()
	}
}

// A PUBACK that could not be written is not kept for the next connection, where it would have an ID that the client never used.
func TestUnsentPuback(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll})
	c := dial(t, addr)
	c.open(connectFrame{id: "c", persistent: true})
	c.ping()
	cl, _ := b.server.Clients.Get("c")
	for id, kind := range map[uint16]byte{77: packets.Puback, 78: packets.Publish} {
		cl.State.Inflight.Set(packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: id})
		request := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1}, PacketID: id}
		(&hook{broker: b}).OnPacketProcessed(cl, request, net.ErrClosed)
		if _, kept := cl.State.Inflight.Get(id); kept != (kind == packets.Publish) {
			t.Errorf("packet of type %d: kept %v, want deliveries only", kind, kept)
		}
	}
}
