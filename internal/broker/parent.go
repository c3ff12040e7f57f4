package broker

import (
	"strings"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// sendParents completes subscriptions: a/# includes the level a itself (MQTT 4.7.1.2), whose retained message mochi leaves out.
// A host's address is such a message: /<host>, beside /<host>/#.
func (b *Broker) sendParents(cl *mqtt.Client, filters packets.Subscriptions) {
	for _, sub := range filters {
		parent, ok := strings.CutSuffix(sub.Filter, "/#")
		if _, granted := cl.State.Subscriptions.Get(sub.Filter); !ok || !granted || sub.RetainHandling != 0 || mqtt.IsSharedFilter(sub.Filter) {
			continue
		}
		b.retained.index.RLock()
		found := b.server.Topics.Messages(parent)
		b.retained.index.RUnlock()
		for _, m := range found {
			if b.mayRead(cl.Net.Conn.(*conn), m.TopicName) {
				b.sendRetained(cl, sub, m)
			}
		}
	}
}

// sendRetained gives a client a retained message, as mochi does it for those that it finds.
func (b *Broker) sendRetained(cl *mqtt.Client, sub packets.Subscription, m packets.Packet) {
	out := m.Copy(false)
	out.FixedHeader.Qos = min(out.FixedHeader.Qos, sub.Qos)
	if sub.Identifier > 0 {
		out.Properties.SubscriptionIdentifier = []int{sub.Identifier}
	}
	if out.FixedHeader.Qos > 0 {
		id, err := cl.NextPacketID()
		if err != nil {
			b.queueFull.Add(1)
			return
		}
		out.PacketID = uint16(id)
		if cl.State.Inflight.Set(out) {
			atomic.AddInt64(&b.server.Info.Inflight, 1)
			cl.State.Inflight.DecreaseSendQuota()
		}
	}
	if err := cl.WritePacket(out); err != nil {
		b.log.Debug("retained message not sent", "client", cl.ID, "topic", m.TopicName, "err", err)
	}
}
