package discover

import (
	"crypto/cipher"
	"crypto/ed25519"
	"net/netip"
)

// relay says what a datagram about relaying is. Orders and batches can be opened of whom the offer was seen.
func (s *Spy) relay(f Frame) Sighting {
	out := Sighting{Form: "relay"}
	h, err := parseRelayHead(f.Data)
	if err != nil {
		out.add("error", err.Error())
		return out
	}
	out.Form = [...]string{kindTicket: "ticket", kindOffer: "offer", kindOrder: "order", kindBatch: "batch"}[h.Kind]
	out.add("sweep", h.Sweep)
	out.add("number", uint64(h.Seq))
	s.operator(&out, h.Operator)
	switch h.Kind {
	case kindTicket:
		s.ticket(&out, f.Data)
	case kindOffer:
		s.offer(&out, h, f)
	case kindOrder:
		s.order(&out, f, s.ordersTo(&out, h, f.To))
	case kindBatch:
		s.batch(&out, f, s.relays[spiedRelay{h.Sweep, f.From}][1])
	}
	return out
}

func (s *Spy) ticket(out *Sighting, b []byte) {
	t, err := parseTicket(b)
	if err != nil {
		out.add("error", err.Error())
		return
	}
	out.add("requester", t.Requester.String())
	out.add("relay", t.Relay.String())
	out.add("network", t.Network.String())
	var good func() bool
	if t.Operator == s.id {
		good = func() bool { return ticketTagged(b, newTagger(s.own)) && signedBy(b, s.own) }
	}
	out.add("signature", signature(good))
}

func (s *Spy) offer(out *Sighting, h relayHead, f Frame) {
	key, err := offerKey(h, f.Data)
	if err != nil {
		out.add("error", err.Error())
		return
	}
	if h.Signed {
		end := len(f.Data) - signatureSize
		out.add("signature", signature(func() bool { return ed25519.Verify(key, f.Data[:end], f.Data[end:]) }))
	}
	secret, err := s.secret(key)
	var box cipher.AEAD
	if err == nil {
		box, err = seal(secret, h.Sweep)
	}
	var o offer
	if err == nil {
		o, err = openOffer(h, f.Data, box)
	}
	if err != nil {
		out.add("sealed", "for another key")
		return
	}
	out.add("sealed", "opened")
	out.add("host", o.Host.String())
	out.add("hostname", o.Name)
	var links []string
	for _, l := range o.Links {
		links = append(links, l.Prefix.String())
	}
	out.add("links", links)
	orders, batches, err := relayKeys(secret, h.Sweep, o.Nonce)
	if err != nil {
		out.add("error", err.Error())
		return
	}
	if len(s.relays) >= maxSpied {
		clear(s.relays)
	}
	if len(s.met) >= maxSpied {
		clear(s.met)
	}
	s.met[f.From] = secret
	s.relays[spiedRelay{h.Sweep, f.From}] = [2]cipher.AEAD{orders, batches}
}

// unsealed opens the body of an order or a batch, and says whether it could.
func unsealed(out *Sighting, f Frame, box cipher.AEAD) []byte {
	if box == nil {
		out.add("sealed", "for others, or its offer was not seen")
		return nil
	}
	body, err := openRelay(f.Data, box)
	if err != nil {
		out.add("error", err.Error())
		return nil
	}
	out.add("sealed", "opened")
	return body
}

// ordersTo returns what opens orders to a relay, or nil.
func (s *Spy) ordersTo(out *Sighting, h relayHead, relay netip.AddrPort) cipher.AEAD {
	if !h.Early {
		return s.relays[spiedRelay{h.Sweep, relay}][0]
	}
	out.add("early", true)
	secret, ok := s.met[relay]
	if !ok {
		return nil
	}
	box, _, err := relayKeys(secret, h.Sweep, [16]byte{})
	if err != nil {
		return nil
	}
	return box
}

func (s *Spy) order(out *Sighting, f Frame, box cipher.AEAD) {
	body := unsealed(out, f, box)
	if body == nil {
		return
	}
	o, err := parseOrder(body)
	switch {
	case err != nil:
		out.add("error", err.Error())
		return
	case len(o.request) == 0:
		out.add("end", true)
		return
	}
	if o.link != earlyLink {
		out.add("link", o.link)
	}
	if o.to.IsValid() {
		out.add("to", o.to.String())
	}
	out.add("request", [][]Detail{s.request(o.request).Details})
}

func (s *Spy) batch(out *Sighting, f Frame, box cipher.AEAD) {
	body := unsealed(out, f, box)
	if body == nil {
		return
	}
	list, err := parseBatch(body)
	if err != nil {
		out.add("error", err.Error())
		return
	}
	var replies [][]Detail
	for _, e := range list {
		replies = append(replies, append([]Detail{{"from", e.from.String()}}, s.reply(e.reply).Details...))
	}
	out.add("replies", replies)
}
