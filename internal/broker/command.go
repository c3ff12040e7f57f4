package broker

import "github.com/mochi-mqtt/server/v2/packets"

// isCommand asks Command.
func (b *Broker) isCommand(topic string) bool {
	return b.config.Command != nil && b.config.Command(topic)
}

// publishCommand is what OnPublish does with a message that was published with the retain flag on a command topic. A retained
// message would command again whoever subscribes, and a broker clears the flag on live delivery (MQTT 3.3.1-9), so that the
// service could not tell it from a command.
func (b *Broker) publishCommand(pk packets.Packet) (packets.Packet, error) {
	if len(pk.Payload) == 0 {
		b.retained.clear(pk.TopicName)
		return pk, packets.CodeSuccessIgnore // mochi acknowledges it
	}
	pk.FixedHeader.Retain = false
	markRetained(&pk)
	return pk, nil
}

// markRetained has a PUBLISH written with the retain flag. The mark is a field that means something in CONNACK only, and
// that mochi copies to each delivery.
func markRetained(pk *packets.Packet) { pk.SessionPresent = true }

// encodeMark sets the retain flag of a PUBLISH that has the mark.
func encodeMark(pk *packets.Packet) {
	if pk.SessionPresent {
		pk.SessionPresent, pk.FixedHeader.Retain = false, true
	}
}
