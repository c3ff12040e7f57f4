package janitoo

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"rollcall/reports"
	"rollcall/reports/janitoo/wire"
)

// pending is a set that a service has not answered yet.
type pending struct {
	request wire.Request
	node    string
	uuid    string
	at      int // the position of the instance
	until   time.Time
}

// patience is how long a service may take to answer a set: less than jnt_query waits, which is 3 s.
const patience = 2500 * time.Millisecond

// maxPending is how many sets may wait for services at once.
const maxPending = 256

// Heard answers a request, and tells who set something what the service has answered.
func (b *bridge) Heard(h reports.Host, m reports.Message) ([]reports.Message, bool) {
	if m.Retained { // a ghost of an earlier request must not switch anything
		return nil, false
	}
	if m.Topic == b.result() {
		return b.answered(h, m.Payload), false
	}
	hadd, toNode := wire.ParseRequestTopic(m.Topic)
	if m.Topic != wire.BroadcastRequest && !toNode {
		return nil, false // an answer of ours, or of another's
	}
	r, err := wire.ParseRequest([]byte(m.Payload))
	if err != nil {
		return nil, false // as Janitoo: silence
	}
	b.build(h)
	switch {
	case r.IsDiscovery():
		return b.discover(r, hadd, toNode), false
	case toNode && r.Hadd == hadd:
		return b.query(r), false
	}
	return nil, false
}

// discover answers what a controller asks: with all nodes, whichever was asked (JANITOO.md §0).
func (b *bridge) discover(r wire.Request, hadd wire.Hadd, toNode bool) []reports.Message {
	genre, known := wire.InfoGenre(r.UUID)
	if !known || r.ReplyHadd == "" || toNode && b.at(hadd) == nil {
		return nil
	}
	var nodes []wire.Node
	var values []wire.Value
	for _, n := range b.nodes {
		if genre == 0 {
			nodes = append(nodes, n.whole(b))
			continue
		}
		for _, v := range n.values {
			if v.Genre != genre {
				continue
			}
			for i := range v.instances {
				if len(v.instances) > 1 && v.own == ownNot {
					values = append(values, v.labelled(b, i))
				} else {
					values = append(values, v.at(b, i))
				}
			}
		}
	}
	topic := wire.BroadcastReplyTopic(r.ReplyHadd)
	if toNode {
		topic = wire.ReplyTopic(r.ReplyHadd)
	}
	return []reports.Message{{Topic: topic, Payload: string(wire.MarshalReply(r, nodes, values))}}
}

// at returns the node with the address, nil for none.
func (b *bridge) at(h wire.Hadd) *node {
	for _, n := range b.nodes {
		if n.hadd == h {
			return n
		}
	}
	return nil
}

// query answers a get or set of a value; with nothing where Janitoo is silent: of what it does not have, and of a wrong command class.
func (b *bridge) query(r wire.Request) []reports.Message {
	n := b.at(r.Hadd)
	if n == nil {
		return nil
	}
	v := n.find(r.UUID)
	if v == nil || v.Genre != r.Genre || r.CmdClass == nil || *r.CmdClass != v.asked() || v.whole() && r.ReplyHadd == "" || !r.WriteOnly && !r.ReadOnly {
		return nil
	}
	at := 0
	if r.Index != nil {
		at = -1
		for i, in := range v.instances {
			if in.index == *r.Index {
				at = i
			}
		}
		if at < 0 {
			return b.refuse(r, v, 0, fmt.Errorf("there is no instance %d", *r.Index))
		}
	}
	if !r.WriteOnly {
		return b.answer(r, v, at, v.data(b, at), nil)
	}
	return b.set(r, v, at)
}

// whole reports whether the value's answers are whole: those of basic, user and command are.
func (v *value) whole() bool { return v.Genre != wire.Config && v.Genre != wire.System }

// asked returns the class that a request for the value names (JANITOO.md §0, 10).
func (v *value) asked() int {
	if v.whole() {
		return v.CmdClass
	}
	return wire.CmdConfiguration
}

// answer returns the answer to a get or set: on the value's topic, where jnt_query listens, and for basic, user and command on that of
// the asker before. An error stands in the help, which jnt_query prints, and with a status as a key of its own.
func (b *bridge) answer(r wire.Request, v *value, at int, data any, err error) (out []reports.Message) {
	a := v.at(b, at)
	a.Data = data
	if r.Index != nil {
		a.Label = v.labelled(b, at).Label
	}
	if err != nil {
		text := reports.OneLine(err.Error())
		a.Help = wire.Ptr("error: " + text)
		a.Extra = map[string]json.RawMessage{"error": wire.Marshal(text), "status": wire.Marshal(status(err))}
		for k, raw := range v.Extra {
			a.Extra[k] = raw
		}
	}
	payload := string(wire.MarshalAnswer(r, a, v.whole()))
	if v.whole() {
		out = append(out, reports.Message{Topic: wire.ReplyTopic(r.ReplyHadd), Payload: payload})
	}
	return append(out, reports.Message{Topic: wire.ValueTopic(v.Genre, v.node.hadd, v.UUID), Payload: payload})
}

// status returns the number of an error, as HTTP has them.
func status(err error) int {
	switch reports.CodeOf(err) {
	case reports.CodeReadOnly, reports.CodeNotAllowed:
		return 403
	case reports.CodeTimeout, reports.CodeOffline, reports.CodeBusy:
		return 503
	case reports.CodeDevice:
		return 500
	}
	return 400
}

// refuse answers a set that failed with what holds.
func (b *bridge) refuse(r wire.Request, v *value, at int, err error) []reports.Message {
	return b.answer(r, v, at, v.data(b, at), err)
}

// set sets a value: one of the protocol's own at once, a point by a command to its service.
func (b *bridge) set(r wire.Request, v *value, at int) []reports.Message {
	if r.Data == nil {
		return b.refuse(r, v, at, reports.Errorf(reports.CodeBadPayload, "there is nothing to set"))
	}
	if v.own != ownNot {
		data, err := b.setOwn(v, r.Data)
		if err != nil {
			return b.refuse(r, v, at, err)
		}
		return b.answer(r, v, at, data, nil)
	}
	in := v.instances[at]
	switch {
	case v.spec.from == fromMemory:
		data := r.Data
		if _, nested := data.(map[string]any); nested || len(wordOf(data)) > maxText {
			return b.refuse(r, v, at, reports.Errorf(reports.CodeTooLarge, "only a text, a number or a bool of at most %d bytes is kept", maxText))
		}
		if err := b.remember(v.node.key, v.UUID, "", data); err != nil {
			return b.refuse(r, v, at, err)
		}
		return b.answer(r, v, at, data, nil)
	case in.point.Path == "":
		return b.refuse(r, v, at, reports.Errorf(reports.CodeReadOnly, "%s is set in the host's configuration", v.UUID))
	case !in.point.Access.Has(reports.Set):
		return b.refuse(r, v, at, reports.Errorf(reports.CodeReadOnly, "%s can't be set", v.UUID))
	case v.node.state == wire.Offline:
		return b.refuse(r, v, at, reports.Errorf(reports.CodeOffline, "service %s is offline", v.node.service))
	case len(b.pending) >= maxPending:
		return b.refuse(r, v, at, reports.Errorf(reports.CodeBusy, "%d sets are waiting", maxPending))
	}
	b.serial++
	id := strconv.Itoa(b.serial)
	command, err := json.Marshal(map[string]any{"value": commandValue(v, in.point, r.Data), "id": id, "reply": b.result()})
	if err != nil {
		return b.refuse(r, v, at, reports.Errorf(reports.CodeBadPayload, "data: %w", err))
	}
	b.pending[id] = pending{r, v.node.key, v.UUID, at, b.now().Add(patience)}
	return []reports.Message{{Topic: reports.Topics{Host: b.host, Service: v.node.service}.To("set/" + in.point.Path), Payload: string(command), QoS: 1}}
}

// commandValue returns what a set of the point is to name: the data as it came; numbers of another unit in the point's.
func commandValue(v *value, p reports.Point, data any) any {
	if v.spec.factor == 0 || p.Type != reports.Float && p.Type != reports.Int {
		return data
	}
	f, err := strconv.ParseFloat(wordOf(data), 64)
	if err != nil {
		return data // the service says that it is no number
	}
	return f / v.spec.factor
}

// answered takes the service's answer to a set, and answers who set it.
func (b *bridge) answered(h reports.Host, payload string) []reports.Message {
	var result struct {
		ID    string `json:"id"`
		OK    bool   `json:"ok"`
		Error string `json:"error"`
		Code  string `json:"code"`
		Data  struct {
			Value any `json:"value"`
		} `json:"data"`
	}
	if json.Unmarshal([]byte(payload), &result) != nil {
		return nil
	}
	p, ok := b.pending[result.ID]
	if !ok {
		return nil
	}
	delete(b.pending, result.ID)
	b.build(h)
	v, at := b.value(p)
	if v == nil {
		return nil // it is gone meanwhile
	}
	if !result.OK {
		return b.refuse(p.request, v, at, reports.Errorf(result.Code, "%s", result.Error))
	}
	if text := reports.FormatValue(result.Data.Value); text != "" {
		in := &v.instances[at]
		b.ahead[place{v.node.service, in.point.Path}] = ahead{in.payload, text, b.now().Add(patience)}
		in.payload = text
		return b.answer(p.request, v, at, v.data(b, at), nil)
	}
	return b.answer(p.request, v, at, scalar(p.request.Data), nil) // a point that can't be read
}

// scalar returns data that jnt_query can print.
func scalar(data any) any {
	switch data.(type) {
	case string, json.Number, bool:
		return data
	}
	return reports.FormatValue(data)
}

// value returns the value that a set is for.
func (b *bridge) value(p pending) (*value, int) {
	for _, n := range b.nodes {
		if v := n.find(p.uuid); n.key == p.node && v != nil && p.at < len(v.instances) {
			return v, p.at
		}
	}
	return nil, 0
}

// expire answers sets that their service has not answered in time.
func (b *bridge) expire(now time.Time) (out []reports.Message) {
	for _, id := range sortedKeys(b.pending) {
		p := b.pending[id]
		if p.until.After(now) {
			continue
		}
		delete(b.pending, id)
		if v, at := b.value(p); v != nil {
			out = append(out, b.refuse(p.request, v, at, reports.Errorf(reports.CodeTimeout, "service %s did not answer", v.node.service))...)
		}
	}
	return out
}
