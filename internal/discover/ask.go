package discover

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"rollcall/reports"
)

// ask sends one copy of the request to every target. It is an error if none could be sent.
func (s *sweep) ask() error {
	s.seq++
	s.wondering = s.c.Key != nil && !s.start.IsZero() && (len(s.missing) > 0 || len(s.hosts) == 0)
	var all [][][]byte // encoded before the clock starts
	for _, w := range s.ways {
		forms, err := s.forms(w)
		if err != nil {
			return err
		}
		all = append(all, forms)
	}
	if s.start.IsZero() {
		s.start = time.Now()
		s.news = s.start
	}
	var last error
	sent := s.stats.Sent
	for i, w := range s.ways {
		if err := s.askOn(w, all[i]); err != nil {
			last = fmt.Errorf("ask from %v on %s: %w", w.local, w.iface.Name, err)
			s.warn(last.Error())
		}
	}
	if s.stats.Sent == sent {
		return fmt.Errorf("no request could be sent: %w", last)
	}
	return nil
}

// forms returns the datagrams to be sent to each target of a way.
func (s *sweep) forms(w *way) ([][]byte, error) {
	var forms [][]byte
	if s.c.Sealed {
		b, err := s.request(w, 0, netip.AddrPort{})
		if err != nil {
			return nil, err
		}
		forms = append(forms, b)
	}
	if s.c.Legacy {
		b, err := json.Marshal(reports.Request{Cmd: "status", ReplyTo: s.c.ReplyTo(w.local), Topic: s.c.Topic,
			ID: reports.ID(strconv.FormatUint(s.c.ID, 10))})
		if err != nil {
			return nil, err
		}
		forms = append(forms, b)
	}
	return forms, nil
}

func (s *sweep) askOn(w *way, forms [][]byte) error {
	var errs []error
	if w.late && s.seq == 1 {
		return nil
	}
	for _, to := range w.targets {
		for _, b := range forms {
			if err := w.send(b, to); err != nil {
				errs = append(errs, err)
				continue
			}
			s.stats.Sent++
		}
	}
	return errors.Join(errs...)
}

// request returns the request for a page in the sealed form, with the present sequence number. to is valid for one to a single
// host.
func (s *sweep) request(w *way, page uint8, to netip.AddrPort) ([]byte, error) {
	q := Request{Sweep: s.c.ID, Time: time.Now(), Requester: w.local, PrefixLen: uint8(w.bits), Copies: 1, Seq: s.seq, Page: page,
		BrokerPort: s.c.BrokerPort, Cookie: s.cookies[to]}
	copy(q.MAC[:], w.iface.MAC)
	if s.c.BrokerPort != 0 {
		q.Topic = s.c.Topic
	}
	if s.c.Key == nil {
		return q.Marshal()
	}
	q.Introduce, q.Clock = s.introduce, s.wondering
	return q.Sign(s.c.Key)
}
