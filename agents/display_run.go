package agents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"rollcall/gpio"
	"rollcall/reports"
)

// show has the chip show what is next, and sees that it answers; the lock is held.
func (a *display) show(next displayState) error {
	memory := next.memory()
	for _, frame := range tm1638Frames(a.shown, memory, next.brightness) {
		if err := a.bus.write(frame); err != nil {
			a.shown, a.fault = nil, fmt.Errorf("write to the display: %w", err)
			return a.fault
		}
	}
	a.shown, a.fault = &memory, nil
	a.look(time.Now())
	if a.fault != nil {
		a.shown = nil
	}
	return a.fault
}

var errDisplayMute = errors.New("no TM1638 answers: look at its supply and at the wires STB, CLK and DIO, or, if DIO is not to be read, say scan: 0s")

// look looks at the keys; the lock is held. A change counts if it is there twice.
func (a *display) look(now time.Time) {
	if a.o.Scan == 0 {
		return
	}
	keys, err := a.read()
	if err == nil && keys != a.keys {
		var again uint32
		if again, err = a.read(); again != keys {
			keys = a.keys
		}
	}
	if a.fault = err; err != nil || keys == a.keys {
		return
	}
	a.keys = keys
	a.tell(reports.Reading{Path: "buts", Value: int64(keys), Time: now})
	a.publish(keys)
}

func (a *display) read() (uint32, error) {
	answer, err := a.bus.keys()
	if err != nil {
		return 0, fmt.Errorf("read the buttons: %w", err)
	}
	keys, ok := tm1638Keys(answer)
	if !ok {
		return 0, errDisplayMute
	}
	return keys, nil
}

// tell puts a reading on the channel of events. Without room it is left to the next poll.
func (a *display) tell(r reports.Reading) {
	select {
	case a.events <- r:
	default:
		a.log.Warn("event is lost: nobody takes them", "path", r.Path)
	}
}

// run looks at the buttons, shows everything anew every so often, and does what other programs ask for.
func (a *display) run(ctx context.Context) {
	defer close(a.over)
	defer close(a.events)
	refresh := time.NewTicker(time.Duration(a.o.Poll))
	defer refresh.Stop()
	var scan <-chan time.Time
	if a.o.Scan > 0 && !a.o.Sim {
		ticker := time.NewTicker(time.Duration(a.o.Scan))
		defer ticker.Stop()
		scan = ticker.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-a.inbox:
			a.message(m)
		case <-refresh.C:
			a.again(true)
		case <-scan:
			a.again(false)
		}
		if a.gone() {
			return
		}
	}
}

// again looks at the buttons, and shows everything anew if it is asked to or if the display is back.
func (a *display) again(all bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	was := a.fault
	a.look(time.Now())
	if all || a.fault == nil && (a.shown == nil || was != nil) {
		a.shown = nil
		_ = a.show(a.is) // is a.fault, which every reading says
	}
	if (was == nil) != (a.fault == nil) {
		a.log.Info("display", "there", a.fault == nil, "err", a.fault)
	}
}

// gone reports whether the lines are of no use any more, so that the agent must be made anew.
func (a *display) gone() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fault != nil && errors.Is(a.fault, gpio.ErrGone) {
		a.died = a.fault
	}
	return a.died != nil
}

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
