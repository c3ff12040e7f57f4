package broker

import (
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// alias is the ID under which mochi knows the request of a client that is being worked off. It belongs to the goroutine that
// serves the connection: that one reads requests and writes their acknowledgements.
type alias struct {
	id  uint16 // 0: none
	own uint16 // what the client calls it
}

// hideID gives a request an ID that no delivery to the client has or will have soon. mochi keeps both in one table, although
// each side counts its own (MQTT 2.2.1): it refuses a SUBSCRIBE or UNSUBSCRIBE with the ID of an unacknowledged delivery, and
// for a PUBLISH it forgets the delivery. QoS 2 keeps its IDs: they outlive the packet.
func hideID(cl *mqtt.Client, pk *packets.Packet) {
	c := cl.Net.Conn.(*conn)
	c.alias = alias{}
	if pk.PacketID == 0 {
		return // is refused
	}
	id, err := cl.NextPacketID()
	if err != nil {
		return // 65,535 deliveries are unacknowledged: none is free
	}
	c.alias = alias{id: uint16(id), own: pk.PacketID}
	pk.PacketID = c.alias.id
}

// OnPacketEncode puts the client's own ID into the acknowledgement of a request, and the retain flag into what is marked for it.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		encodeMark(&pk)
	case packets.Puback, packets.Suback, packets.Unsuback:
		if c, ok := cl.Net.Conn.(*conn); ok && c.alias.id != 0 && c.alias.id == pk.PacketID {
			pk.PacketID = c.alias.own
		}
	}
	return pk
}

// dropUnsent forgets a PUBACK that could not be written; mochi would send it in the next connection, with the alias. There the
// client sends its message again.
func (b *Broker) dropUnsent(cl *mqtt.Client, id uint16) {
	if ack, ok := cl.State.Inflight.Get(id); ok && ack.FixedHeader.Type == packets.Puback && cl.State.Inflight.Delete(id) {
		atomic.AddInt64(&b.server.Info.Inflight, -1)
	}
}
