package discover

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"rollcall/internal/census"
	"rollcall/reports"
)

// ask sends a request of the algorithm to every target, or to the one host that it is for. It is an error if the first one of
// the sweep could not be sent at all; later the sweep goes on with what it has.
func (s *sweep) ask(a census.Ask) error {
	if a.To != (ID{}) {
		return s.askOne(a)
	}
	return s.askOn(s.ways, a)
}

// askOn sends a request to every target of these ways.
func (s *sweep) askOn(ways []*way, a census.Ask) error {
	s.wondering = s.c.Key != nil && a.Copy < wonderingCopies && a.Round <= lastWondering && (a.Round > 1 && s.census.Hosts() == 0 || a.Round > 2 && s.silent())
	var last error
	before := s.stats.Sent
	pending := 0
	for _, w := range ways {
		if w.late && !a.Late {
			continue
		}
		b, err := s.encode(s.question(w, a), s.addressees(w, a)...)
		if err != nil {
			return err
		}
		n, err := s.sendAll(w, b, s.answered, a.Round)
		pending += n
		if err != nil {
			last = fmt.Errorf("ask from %v on %s: %w", w.local, w.iface.Name, err)
			s.warn(last.Error())
		}
	}
	if len(s.unsent.failing) > 0 {
		s.census.Unsent()
		s.unsent.giveUp(a.Round)
	}
	if s.c.Legacy && a.First && a.Round == 1 {
		s.second = time.Now().Add(min(secondAfter, s.c.Wait/4))
		if err := s.askOriginal(); err != nil {
			s.warn(err.Error())
		}
	}
	if before == 0 && s.stats.Sent == 0 && pending > 0 {
		return fmt.Errorf("no request could be sent: %w", last)
	}
	return nil
}

// lastWondering is the last round in which hosts are asked about their clocks: each such request costs every host the check of
// a signature, and a file that it has to write. So where others have answered, who is silent is asked once more beforehand.
const lastWondering = 6

// wonderingCopies is how many copies of each of those rounds ask about clocks.
const wonderingCopies = 2

// silent reports whether a known host has not answered.
func (s *sweep) silent() bool {
	for id := range s.known {
		if s.hosts[id] == nil {
			return true
		}
	}
	return false
}

// askOne asks a known host by unicast, if it is known where it is and there is a way to there.
func (s *sweep) askOne(a census.Ask) error {
	at := s.known[a.To]
	for _, w := range s.ways {
		if !at.IsValid() || !w.asked(at) {
			continue
		}
		b, err := s.encode(s.question(w, a))
		if err != nil {
			return err
		}
		s.send(w, b, at)
		break
	}
	return nil
}

// question returns the request for an Ask.
func (s *sweep) question(w *way, a census.Ask) Request {
	q := s.request(w)
	q.Round, q.Seq, q.Window, q.Copies = a.Round, a.Seq, a.Window.Truncate(time.Microsecond), a.Copies
	q.Sample, q.Lo, q.Hi, q.Salt, q.Filter, q.FilterHashes = a.Sample, a.Lo, a.Hi, a.Salt, a.Filter, a.Hashes
	return q
}

// request returns what all requests of the sweep have in common.
func (s *sweep) request(w *way) Request {
	q := Request{Sweep: s.c.ID, Time: time.Now(), Requester: w.local, PrefixLen: uint8(w.bits), Copies: 1, Want: s.c.Want,
		BrokerPort: s.c.BrokerPort}
	copy(q.MAC[:], w.iface.MAC)
	if s.c.BrokerPort != 0 {
		q.Topic = s.c.Topic
	}
	return q
}

// addressees returns what is shared with the hosts that are to find their tag in a request of the first round: all that are known.
// Later ones are such as hosts understand that know nothing of tags. A relay's hosts do without, for an order is to be small.
func (s *sweep) addressees(w *way, a census.Ask) []Secret {
	if w.relay != nil || a.Round != 1 {
		return nil
	}
	return s.paired
}

// encode returns the datagram of a request, with tags for the hosts of these secrets. All requests of the sealed form are made here.
func (s *sweep) encode(q Request, hosts ...Secret) ([]byte, error) {
	if s.c.Key == nil {
		return q.Marshal()
	}
	q.Introduce, q.Clock = s.introduce, s.wondering
	return q.Sign(s.c.Key, hosts...)
}

// filterRoom returns how many bytes of filter a request has room for.
func (s *sweep) filterRoom() int {
	const overhead = 40 + groupTagSize // keys, lengths and numbers of the body
	room := MaxRequest - requestHeader - signatureSize - overhead - len(s.c.Want) - len(s.c.Topic)
	if len(s.c.Subnets) > 0 {
		room -= relayOverhead + 1 // a request has an even length
	}
	return room
}

// sendAll sends a datagram to every target of a way but these, and returns to how many, and the first error. A round of 0 is
// none: what can't be sent in it is not missed.
func (s *sweep) sendAll(w *way, b []byte, but map[netip.AddrPort]bool, round uint16) (n int, first error) {
	for _, to := range w.targets {
		if but[to] {
			continue
		}
		n++
		err := w.send(b, to)
		if round > 0 {
			s.unsent.note(w, to, round, err)
		}
		if err != nil {
			first = cmp.Or(first, err)
			continue
		}
		s.stats.Sent++
		s.stats.SentBytes += len(b)
	}
	return n, first
}

// askSingle asks one address for a page of its host, outside the rounds; with the cookie that it gave, if it gave one.
func (s *sweep) askSingle(w *way, to netip.AddrPort, page int) error {
	s.pageRequests++
	q := s.request(w)
	q.Round, q.Seq = s.census.Single()
	q.Page, q.Cookie = uint8(page), s.cookies[to]
	b, err := s.encode(q)
	if err != nil {
		return err
	}
	s.send(w, b, to)
	return nil
}

// send sends a datagram to one host.
func (s *sweep) send(w *way, b []byte, to netip.AddrPort) {
	if err := w.send(b, to); err != nil {
		s.warn(fmt.Sprintf("ask %v: %v", to, err))
		return
	}
	s.stats.Sent++
	s.stats.SentBytes += len(b)
}

// askOriginal sends the question in the original form to every target. It is an error if none could be sent.
func (s *sweep) askOriginal() error {
	var errs []error
	before := s.stats.Sent
	for _, w := range s.ways {
		b, err := json.Marshal(reports.Request{Cmd: "status", ReplyTo: s.c.ReplyTo(w.local), Topic: s.c.Topic,
			ID: reports.ID(strconv.FormatUint(s.c.ID, 10))})
		if err != nil {
			return err
		}
		if _, err := s.sendAll(w, b, nil, 0); err != nil {
			errs = append(errs, fmt.Errorf("ask from %v on %s: %w", w.local, w.iface.Name, err))
		}
	}
	err := errors.Join(errs...)
	if s.stats.Sent == before && err != nil {
		return fmt.Errorf("no request could be sent: %w", err)
	}
	if err != nil {
		s.warn(err.Error())
	}
	return nil
}
