package discover

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"rollcall/reports"
)

const (
	defaultWait = time.Second
	secondAfter = 120 * time.Millisecond // the second copy of a request: hosts dedupe, so it only costs where the first was lost
	allHosts    = 65_536                 // more are not told apart
)

// SweepConfig says whom to ask and for how long.
type SweepConfig struct {
	ID         uint64        // 0 for a random one; below 2^53, so that it stands exactly in JSON too
	Port       int           // 0: Port
	To         []string      // addresses, or addr:port, to ask instead of every interface's directed broadcast address
	Interfaces []string      // only these
	Wait       time.Duration // listen at most this long, 0: a second; a sweep with no news ends earlier, see Sweep
	Sealed     bool          // send the sealed form
	Legacy     bool          // send the original form
	// ReplyTo returns what stands in replyto of the original form for a request that leaves from local; with Topic.
	ReplyTo func(local netip.Addr) string
	Topic   string
	// BrokerPort is the port of a broker on the requester's own address that answers may go to, for the sealed form; 0: none.
	BrokerPort uint16
	Key        Key // the operator's, to sign requests with; nil: they are not signed, and only open hosts answer
	// Known finds the key that a host is known to have; nil: none is known. It is called from several goroutines.
	Known   func(ID) (ed25519.PublicKey, bool)
	Keyring *Keyring // secrets kept from one sweep to the next; nil: none
	Expect  []ID     // hosts known from earlier: the sweep does not end early while one of them is silent
	Log     *slog.Logger
}

// Answer is one host's reply.
type Answer struct {
	Host      Host
	From      netip.AddrPort
	Interface string
	After     time.Duration // since the first request was sent
}

// SweepStats says how a sweep went.
type SweepStats struct {
	ID                    uint64
	Sent, Received, Wrong int // datagrams; Wrong: not a reply to this sweep
	Elapsed               time.Duration
	Changed               []KeyChange // hosts that are not believed
	Clocks                int         // hosts whose clock differs from ours by more than 30 s
	Warnings              []string    // an interface that could not be used, and why
}

// check refuses a configuration that can't be meant, and fills in what is left out.
func (c *SweepConfig) check() error {
	switch {
	case c.ID > maxSweep:
		return fmt.Errorf("sweep id %d is not below 2^53", c.ID)
	case c.Port < 0 || c.Port > 65535:
		return fmt.Errorf("port %d is not between 1 and 65535", c.Port)
	case !c.Sealed && !c.Legacy:
		return errors.New("sweep in neither form asks nobody")
	case c.Legacy && c.ReplyTo == nil:
		return errors.New("sweep in the original form needs a replyto")
	case c.Wait < 0:
		return fmt.Errorf("wait %v is negative", c.Wait)
	}
	if c.Legacy || c.BrokerPort != 0 {
		if err := reports.ValidTopic(c.Topic); err != nil {
			return err
		}
	}
	if c.ID == 0 {
		c.ID = 1 + rand.Uint64N(maxSweep)
	}
	if c.Port == 0 {
		c.Port = Port
	}
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Sweep asks and calls found for each host once, as it answers, from one goroutine. It ends at Wait, or earlier once a
// second request has gone out and there was no new host for a quarter of Wait since and no host of Expect is missing, nor a
// further page of a host that has many services. The error is for a request that could not be sent at all.
//
// Answers by way of a broker are not seen here; who asks for them with Legacy must wait for them himself.
func Sweep(ctx context.Context, c SweepConfig, found func(Answer)) (SweepStats, error) {
	if err := c.check(); err != nil {
		return SweepStats{}, err
	}
	list, err := interfaces()
	if err != nil {
		return SweepStats{ID: c.ID}, err
	}
	s := newSweep(c, list, found)
	defer s.close()
	if err := s.open(list); err != nil {
		return s.stats, err
	}
	err = s.run(ctx)
	s.stats.Elapsed = time.Since(s.start)
	return s.stats, err
}

// newSweep returns a sweep on a machine with these interfaces.
func newSweep(c SweepConfig, list []iface, found func(Answer)) *sweep {
	s := &sweep{raw: make(chan packet, 4096), c: c, found: found, machine: machineOf(list), hosts: map[ID]*heard{}, missing: map[ID]bool{},
		in: make(chan packet, 1024), stats: SweepStats{ID: c.ID}}
	if c.Key != nil {
		s.opener, s.introduce = newOpener(c), len(c.Expect) == 0
	}
	for _, id := range c.Expect {
		s.missing[id] = true
	}
	return s
}

// sweep is one sweep under way. Everything but in belongs to the goroutine of Sweep.
type sweep struct {
	c       SweepConfig
	found   func(Answer)
	machine machine
	stats   SweepStats
	ways    []*way
	in      chan packet
	stop    func()
	readers sync.WaitGroup

	start, second time.Time // when the first and the second request went out
	news          time.Time // when there was last a new host
	retry         time.Time // when missing pages are asked for again
	seq           uint32
	hosts         map[ID]*heard
	missing       map[ID]bool
	partial       int // hosts of which pages are missing
	pageRequests  int

	raw       chan packet // to be opened
	opener    *opener     // nil: without a key
	introduce bool        // hosts are to sign, for some are not known
	cookies   map[netip.AddrPort][]byte
	wondering bool // hosts were asked about their clocks
}

// packet is a datagram that came in.
type packet struct {
	way  *way
	from netip.AddrPort
	at   time.Time
	b    []byte

	reply Reply // parsed and opened
	err   error
}

// run asks twice and listens until the end.
func (s *sweep) run(ctx context.Context) error {
	readers, cancel := context.WithCancel(ctx)
	s.stop = cancel
	s.startOpeners(readers)
	for _, w := range s.ways {
		s.readers.Go(func() { w.read(readers, s.raw) })
	}
	if err := s.ask(); err != nil {
		return err
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Now()
		if s.second.IsZero() && now.Sub(s.start) >= min(secondAfter, s.c.Wait/4) {
			if err := s.ask(); err != nil {
				s.warn(err.Error())
			}
			s.second = now
		}
		if s.partial > 0 && !now.Before(s.retry) {
			s.retryPages(now)
		}
		end := s.end()
		if !now.Before(end) {
			break
		}
		timer.Reset(time.Until(s.next(end)))
		select {
		case <-ctx.Done():
			s.flush()
			return nil
		case p := <-s.in:
			s.take(p)
		case <-timer.C:
		}
	}
	s.flush()
	return nil
}

// end returns when the sweep ends if nothing more comes.
func (s *sweep) end() time.Time {
	last := s.start.Add(s.c.Wait)
	if s.second.IsZero() || len(s.missing) > 0 || s.partial > 0 {
		return last
	}
	quiet := s.second
	if s.news.After(quiet) {
		quiet = s.news
	}
	if quiet = quiet.Add(s.c.Wait / 4); quiet.Before(last) {
		return quiet
	}
	return last
}

// next returns when there is something to do before the end.
func (s *sweep) next(end time.Time) time.Time {
	if s.second.IsZero() {
		if t := s.start.Add(min(secondAfter, s.c.Wait/4)); t.Before(end) {
			end = t
		}
	}
	if s.partial > 0 && s.retry.Before(end) {
		end = s.retry
	}
	return end
}

// warn keeps a warning, once.
func (s *sweep) warn(text string) {
	for _, w := range s.stats.Warnings {
		if w == text {
			return
		}
	}
	s.stats.Warnings = append(s.stats.Warnings, text)
}

// close ends the readers and gives back the sockets.
func (s *sweep) close() {
	if s.stop != nil {
		s.stop()
	}
	for _, w := range s.ways {
		_ = w.conn.Close() // nothing was to be kept
	}
	s.readers.Wait()
}
