package agents

import (
	"bytes"
	"fmt"

	"rollcall/reports"
)

// displayMessage is what came in on a topic of another program.
type displayMessage struct {
	topic   string
	payload []byte
	words   bool // it came in on the topic for control
}

// subscribe has the topics of others heard, and checks the one that is published on.
func (a *display) subscribe(d Deps) error {
	if a.link == nil {
		return nil
	}
	t := a.o.Topics
	if t.Buts != "" {
		if err := a.link.Check(t.Buts); err != nil {
			return iioAt(d, "topics.buts", "%w", err)
		}
	}
	for _, s := range []struct {
		key, topic string
		words      bool
	}{{"topics.display", t.Display, false}, {"topics.control", t.Control, true}} {
		if s.topic == "" {
			continue
		}
		stop, err := a.link.Subscribe(s.topic, func(payload []byte) {
			if len(payload) > displayLongest {
				payload = payload[:displayLongest+1] // is refused for its length
			}
			select {
			case a.inbox <- displayMessage{s.topic, bytes.Clone(payload), s.words}:
			default:
				a.log.Warn("message is lost: there are too many at once", "topic", s.topic)
			}
		})
		if err != nil {
			return iioAt(d, s.key, "%w", err)
		}
		a.stops = append(a.stops, stop)
	}
	return nil
}

func (a *display) unsubscribe() {
	for _, stop := range a.stops {
		stop()
	}
}

// message does what another program asks for. There is nobody to be answered: what is wrong goes to the log.
func (a *display) message(m displayMessage) {
	changes, err := displayParse(m.payload, m.words)
	if err == nil {
		err = a.change(changes, "")
	}
	if err != nil {
		a.log.Warn("message refused", "topic", m.topic, "code", reports.CodeOf(err), "err", err)
	}
}

// publish tells other programs what the buttons are.
func (a *display) publish(keys uint32) {
	if a.link == nil || a.o.Topics.Buts == "" {
		return
	}
	if err := a.link.Publish(a.o.Topics.Buts, fmt.Appendf(nil, `{"buts":%d}`, keys)); err != nil {
		a.log.Debug("buttons are not published", "err", err) // without a broker: an edge must not be told later
	}
}
