package discover

import (
	"crypto/cipher"
	"crypto/ed25519"

	"rollcall/internal/census"
)

// closed handles a request to a host that names its operators. Whatever is wrong with it, nothing is said.
func (r *Responder) closed(d *datagram, q *Request, size int, set *settings, said *pages) (outcome, error) {
	switch {
	case !q.Signed:
		return notOpen, nil
	case said == nil:
		return notReady, nil
	case !q.Requester.IsValid():
		return wrongSource, nil
	}
	op := r.authority.find(set.operators, q.Operator)
	if op == nil {
		return noOperator, nil
	}
	d.operator = op
	skew := d.at.Sub(q.Time)
	late := skew > maxSkew || skew < -maxSkew || !r.authority.timely(op, q.Time)
	key := r.hash(d.src.Addr(), q.Sweep, q.Seq, q.Operator[:])
	if _, seen := r.replay.get(key, d.at); seen {
		return replayed, nil
	}
	f, o := r.place(d, q, set)
	switch {
	case o != answered:
		return o, nil
	case !tagged(q.signed(d.b), op.tagger):
		return forged, nil
	}
	if err := q.parseBody(d.b, size); err != nil {
		return malformed, err
	}
	if late && r.authority.cookies.valid(q.Cookie, op, d.src.Addr(), q.Sweep, d.at) {
		late = false
	}
	state, spread := r.note(d, q), census.SpreadOf(q.Sweep, q.Salt, said.id)
	meant, heard := meantFor(q, said, spread, &state.Attendance, d.at)
	_, waits := state.Due()
	cancels := heard && waits
	lasting := q.Clock || skew < -startMargin // its time is remembered for good: that takes the operator's key, not a secret that was kept
	switch {
	case late && !q.Clock:
		return clock, nil
	case meant != answered && !cancels && !q.Clock:
		if heard {
			r.heardBy(d, q, spread, set)
		}
		return meant, nil // without a check of the signature: whatever it is, nothing is said
	case late && !r.authority.floors.above(op.id, q.Time.UnixMilli()):
		return replayed, nil // it has asked for a challenge before
	case !r.sealedRate.allow(d.src.Addr(), d.at):
		return rate, nil // only here: who forges or replays uses up nothing of what the operator may ask
	case !lasting && op.addressed(q, d.b): // what the signature would show is shown
	case !r.authority.allow(f.Index, d.at):
		return rate, nil
	case !signedBy(q.signed(d.b), op.key):
		return forged, nil
	}
	d.verified = true
	r.replay.put(key, struct{}{}, d.at)
	fresh := true
	if lasting {
		fresh = r.authority.floors.raise(op.id, q.Time.UnixMilli())
	}
	switch {
	case late && !fresh:
		return replayed, nil
	case meant != answered:
		if cancels {
			state.Cancel()
		}
		return meant, nil
	case late:
		return r.challenge(d, q, said, f)
	}
	return r.attend(d, q, said, f, spread.Slot, state)
}

// asker returns what tells apart who asks, beside the address.
func (d *datagram) asker() []byte {
	if d.operator == nil {
		return nil
	}
	return d.operator.id[:]
}

// challenge answers a request whose time is not the host's with what may stand for the time.
func (r *Responder) challenge(d *datagram, q *Request, said *pages, f iface) (outcome, error) {
	reply := Reply{Flags: FlagSealed | FlagChallenge, Host: said.id, Key: r.authority.key.ID(), Sweep: q.Sweep, Round: q.Round,
		Pages: 1, Edition: said.edition, Seq: q.Seq, First: q.Seq, Box: r.authority.cookies.make(d.operator, d.src.Addr(), q.Sweep, d.at)}
	raw, err := reply.Marshal()
	if err != nil {
		return malformed, err
	}
	box, err := r.authority.box(d.operator, q.Sweep)
	if err != nil {
		return sendFailed, err
	}
	out, err := r.authority.seal(r.sealBuf[:], raw, box, q.Introduce)
	if err == nil {
		err = r.reply(out, r.source(d, f), d.src)
	}
	if err != nil {
		return sendFailed, err
	}
	return challenged, nil
}

// seal seals a page, and signs it for who may not know the host yet.
func (a *authority) seal(dst, page []byte, box cipher.AEAD, introduce bool) ([]byte, error) {
	var private ed25519.PrivateKey
	if introduce {
		private = a.key.Private()
	}
	return sealInto(dst, page, box, a.own, a.key.ID(), private)
}
