package discover

import (
	"bytes"
	"errors"

	"rollcall/reports"
)

// original handles a request in the original form. It is never answered by UDP, for any answer would be longer than it.
func (r *Responder) original(d *datagram) (outcome, error) {
	set, said := r.settings.Load(), r.said.Load()
	trimmed := bytes.TrimSpace(d.b)
	switch {
	case len(d.b) > reports.MaxRequest:
		return tooLong, nil
	case !set.legacy:
		return legacyOff, nil
	case said == nil:
		return notReady, nil
	case trimmed[len(trimmed)-1] != '}' || !bytes.Contains(trimmed, []byte(`"cmd"`)):
		return malformed, nil // without a token of the sender's being spent
	}
	src := d.src.Addr()
	f, o := r.arrival(d, set)
	switch {
	case o != answered:
		return o, nil
	case !f.onLink(src, r.machine.isOwn) && !set.guard.covers(src):
		return offLink, nil
	case !r.jsonRate.allow(src, d.at):
		return rate, nil
	}
	q, err := reports.ParseRequest(d.b)
	if err != nil {
		return malformed, err
	}
	if r.foreign(q.Topic) {
		return badTopic, errors.New(q.Topic)
	}
	to, err := parseReplyTo(q.ReplyTo)
	if err != nil {
		return guarded, err
	}
	return r.takeOriginal(d, q, to, set, r.monitor(d, said, f))
}

// takeOriginal queues a request in the original form that is well-formed, unless it was queued before.
func (r *Responder) takeOriginal(d *datagram, q reports.Request, to replyTo, set *settings, m reports.Monitor) (outcome, error) {
	src := d.src.Addr()
	own := r.machine.isOwn(src)
	j := job{request: q, from: d.src, own: own, wide: r.broadcast(d), to: to, guard: set.guard}
	j.request.Monitor = m // whatever the network said of it
	if q.ID == "" {
		if !r.noID.add(r.hash(src, 0, 0, d.b), struct{}{}, d.at) {
			return duplicate, nil
		}
	} else if j.key = r.hash(src, 0, 0, []byte(q.ID)); !r.published.add(j.key, d.at) {
		return duplicate, nil
	}
	queue := r.jobs
	if to.name != "" {
		queue = r.names
	}
	o := accepted
	if !own && !r.mayAsk(src, j.key, d.at) {
		o = destination
	} else if !enqueue(queue, j) {
		o = busy
	}
	if o != accepted {
		r.published.drop(j.key)
	}
	return o, nil
}
