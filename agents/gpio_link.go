package agents

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// gpioLink is what the failsafes know of who controls the outputs.
type gpioLink struct {
	down  map[string]bool   // who is gone: by watched topic, and the broker under ""
	stops map[string]func() // what ends the watch of each
}

// watchers returns the topics that the failsafes of a set-up watch, and "" for the broker if there is any failsafe.
func (s *gpioState) watchers() map[string]string {
	out := map[string]string{}
	for _, l := range s.lines {
		if f := l.failsafe(); f != nil {
			out[""] = ""
			if f.Watch != "" {
				out[f.Watch] = l.at + ".failsafe.watch"
			}
		}
	}
	return out
}

// failsafe returns the failsafe of a line, or nil.
func (l *gpioLine) failsafe() *gpioFailsafe {
	switch {
	case l.out != nil:
		return l.out.Failsafe
	case l.mod != nil:
		return l.mod.failsafe
	}
	return nil
}

// watch begins to watch what the failsafes of the set-up need, and checks the topics that edges are published on.
func (t *gpioTaking) watch() error {
	link := t.a.deps.Link
	if link == nil {
		return nil
	}
	for _, l := range t.next.lines {
		if l.sense == nil || l.sense.topic == "" {
			continue
		}
		if err := link.Check(l.sense.topic, t.next.paths()...); err != nil {
			return &gpioFault{l.at + ".on_change", err}
		}
	}
	watchers := t.next.watchers()
	for _, topic := range slices.Sorted(maps.Keys(watchers)) {
		if t.a.link.stops[topic] != nil {
			continue
		}
		if t.a.link.stops == nil {
			t.a.link = gpioLink{map[string]bool{}, map[string]func(){}}
		}
		stop, err := t.a.watch(link, topic)
		if err != nil {
			return &gpioFault{watchers[topic], err}
		}
		t.a.link.stops[topic] = stop
		t.a.link.down[topic] = topic != "" // who has not said anything yet is not there
		t.undo = append(t.undo, func() error { t.a.unwatch(topic); return nil })
	}
	return nil
}

// watch has the inbox told of the broker, or of who says offline on a topic.
func (a *gpioAgent) watch(link Link, topic string) (stop func(), err error) {
	if topic == "" {
		return link.Watch(func(up bool) { a.inbox.up("", up) }), nil
	}
	return link.Subscribe(topic, func(payload []byte) {
		word := strings.TrimSpace(string(payload))
		a.inbox.up(topic, word != "" && !strings.EqualFold(word, "offline"))
	})
}

func (a *gpioAgent) unwatch(topic string) {
	a.link.stops[topic]()
	delete(a.link.stops, topic)
	delete(a.link.down, topic)
}

// relink ends the watches that the present set-up does not need, and tells a new bank who is there.
func (a *gpioAgent) relink() {
	watchers := a.present.watchers()
	for topic := range maps.Clone(a.link.stops) {
		if _, ok := watchers[topic]; !ok {
			a.unwatch(topic)
		}
	}
	a.tellLinks()
}

// linked takes in that somebody is there, or gone.
func (a *gpioAgent) linked(topic string, up bool) {
	if a.link.stops[topic] == nil || a.link.down[topic] == !up {
		return
	}
	a.link.down[topic] = !up
	a.log.Info("controller", "topic", topic, "there", up)
	a.tellLinks()
}

// tellLinks tells the bank who is there.
func (a *gpioAgent) tellLinks() {
	now := time.Now()
	for _, l := range a.present.lines {
		if f := l.failsafe(); f != nil {
			a.bank.Link(l.name, !a.link.down[""] && !a.link.down[f.Watch], now)
		}
	}
}
