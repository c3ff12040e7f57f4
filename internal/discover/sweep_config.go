package discover

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"rollcall/reports"
)

// SweepConfig says whom to ask and for how long.
type SweepConfig struct {
	ID         uint64   // 0 for a random one; below 2^53, so that it stands exactly in JSON too
	Port       int      // 0: Port
	To         []string // addresses, or addr:port, to ask instead of every interface's directed broadcast address
	Interfaces []string // only these
	// Subnets are networks behind routers, each of which a host there asks for us: a relay. They are asked instead of the networks
	// that this machine is in. Relays are hosts that may serve for that, beside those of Expect; where none does, all addresses of
	// a network are asked for one.
	Subnets []netip.Prefix
	Relays  []Known
	Wait    time.Duration // listen at most this long, 0: 5 s; a sweep ends by itself, see Sweep
	Want    string        // selector of the hosts that are to answer, see ValidSelector
	Sealed  bool          // send the sealed form
	Legacy  bool          // send the original form
	// ReplyTo returns what stands in replyto of the original form for a request that leaves from local; with Topic.
	ReplyTo func(local netip.Addr) string
	Topic   string
	// BrokerPort is the port of a broker on the requester's own address that answers may go to, for the sealed form; 0: none.
	BrokerPort uint16
	Key        Key // the operator's, to sign requests with; nil: they are not signed, and only open hosts answer
	// Known finds the key that a host is known to have; nil: none is known. It is called from several goroutines.
	Known   func(ID) (ed25519.PublicKey, bool)
	Keyring *Keyring // secrets kept from one sweep to the next; nil: none
	Expect  []Known  // hosts known from earlier: they are asked more than others before they count as missing
	Log     *slog.Logger

	buffer int // bytes of receive buffer to ask for; 0: as many as can be had
}

// Known is a host that answered earlier.
type Known struct {
	ID ID
	At netip.AddrPort // where it answered; not valid: it can't be asked by unicast
	// Bits and MAC are what Answer.Bits and Host.MAC said, 0 if that is not known. A relay is asked sooner of which they are.
	Bits int
	MAC  [6]byte
}

// Answer is one host's reply.
type Answer struct {
	Host      Host
	From      netip.AddrPort
	Interface string
	Bits      int           // length of the prefix of the IPv4 network that was asked and that From is in; 0: it was asked by itself
	After     time.Duration // since the first request was sent
	Edition   uint16        // of what the host says of itself
}

// SweepStats says how a sweep went.
type SweepStats struct {
	ID                    uint64
	Sent, Received, Wrong int // datagrams; Wrong: not a reply to this sweep
	SentBytes             int
	Elapsed               time.Duration
	Changed               []KeyChange // hosts that are not believed
	Clocks                int         // hosts whose clock differs from ours by more than 30 s
	Skewed                []ID        // which ones
	Unasked               []Unasked   // what nothing could be sent to
	Warnings              []string    // an interface that could not be used, and why
	Relays                []Relay     // that asked Subnets

	// The rest is about the sealed form only. Complete says that hosts which are there and were not heard are not to be expected:
	// fewer than PMiss of them. Missing are hosts of Expect that did not answer, however often they were asked.
	Complete    bool
	Why         string  // if not Complete
	PMiss       float64 // bound
	Missing     []ID
	Rounds      int
	RequestLoss float64 // estimated share of requests that got lost, 0 to 1
	ReplyLoss   float64
	Drops       uint32 // replies that this machine's socket had no room for
	Resolved    int    // hosts that had to ask by ARP where this machine is, which costs a sweep of many most of its time
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
	case ValidSelector(c.Want) != nil:
		return ValidSelector(c.Want)
	case c.Wait < 0:
		return fmt.Errorf("wait %v is negative", c.Wait)
	}
	if c.Legacy || c.BrokerPort != 0 {
		if err := reports.ValidTopic(c.Topic); err != nil {
			return err
		}
	}
	if err := c.checkSubnets(); err != nil {
		return err
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
