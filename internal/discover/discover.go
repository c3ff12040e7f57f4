// Package discover is the sweep and the responder on UDP: the wire format RCL1 and the original JSON form (PROTOCOL.md §1, §2),
// and the guard that decides whose broker a request may have answers sent to.
//
// It never connects to a broker itself and knows nothing of agents.
package discover

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"rollcall/internal/stub"
	"rollcall/reports"
)

// Port is the UDP port of discovery.
const Port = 37030

// ID identifies a host over restarts and renaming. It prints as 16 hex digits.
type ID [8]byte

// LoadID reads the host's id from the file host_id in stateDir, or makes one and saves it there.
func LoadID(stateDir string) (ID, error) { panic(stub.TODO) }

// Host is what a host says of itself in a reply.
type Host struct {
	ID       ID
	Hostname string
	Addrs    []netip.Addr // the addresses of its usable interfaces
	ExtAddr  string
	MAC      net.HardwareAddr // of the interface that answered
	Model    string
	OS       string
	Arch     string
	Version  string
	BootID   string
	Started  time.Time // of the monitor; the reply carries the age
	// Brokers are the URLs of the host's broker. One on loopback is only of use on the host itself; a sweep drops it when the
	// reply came from another machine, and sets LoopbackOnly.
	Brokers      []string
	LoopbackOnly bool
	Open         bool // the host has no authorized_operators: it answers anyone
	Services     []Service
}

// Service is one service of a Host.
type Service struct {
	Name, Function string
	Status         reports.Status
	Points         int
	Digest         [8]byte // of its description; two equal digests mean equal descriptions
}

// Listen opens the discovery socket: UDP on all addresses (or on addr, for tests: "127.0.0.1:0"), with the largest receive
// buffer that it may have, IP_PKTINFO on, and SO_BROADCAST.
func Listen(addr string) (*net.UDPConn, error) { panic(stub.TODO) }

// ResponderConfig says how a host answers.
type ResponderConfig struct {
	Conn       *net.UDPConn // from Listen; closed by Run
	Interfaces []string     // answer only what comes in on these; empty: all
	Legacy     bool         // obey requests in the original form
	Open       bool         // obey unsigned sealed requests
	Guard      *Guard
	Passes     *Passes

	// Publish is given each request that was obeyed, checked and enriched, once per requester and id, to be published on
	// reports.ReportTopic. from is where it came from; own is true when that is this machine itself. It must not block.
	Publish func(r reports.Request, from netip.AddrPort, own bool)
	ExtAddr func() string // the public address, "" when unknown; nil for never
	// Local is the broker endpoint ("127.0.0.1:1883") and topic that answers of programs which know only the original form are
	// asked to go to when a sealed request names no broker of the requester.
	LocalReplyTo, LocalTopic string
	Now                      func() time.Time
	Log                      *slog.Logger
}

// Responder answers requests on one socket.
type Responder struct{ _ int }

// NewResponder checks the configuration.
func NewResponder(c ResponderConfig) (*Responder, error) { panic(stub.TODO) }

// Update replaces what the host says of itself; the replies are encoded here, once, not per request.
func (r *Responder) Update(h Host) { panic(stub.TODO) }

// Reload replaces interfaces, legacy, open and guard, after a change of the configuration.
func (r *Responder) Reload(interfaces []string, legacy, open bool, g *Guard) { panic(stub.TODO) }

// Run answers until ctx ends, and returns nil then.
func (r *Responder) Run(ctx context.Context) error { panic(stub.TODO) }

// Stats returns how many datagrams have come to which end, by outcome: "answered", "published", "malformed", "too_long",
// "off_link", "replayed", "clock", "rate", "guard", "legacy_off", ….
func (r *Responder) Stats() map[string]uint64 { panic(stub.TODO) }

// Guard decides whose broker a request may have answers sent to (PROTOCOL.md §1).
type Guard struct{ _ int }

// Resolver looks names up; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// NewGuard returns a guard that allows the requester itself and the names, addresses and CIDRs of allowed. A nil resolver is
// net.DefaultResolver.
func NewGuard(allowed []string, resolver Resolver) (*Guard, error) { panic(stub.TODO) }

// Endpoint is a broker that was checked: an address and no name, so that it can't come to mean another one later.
type Endpoint struct {
	Addr netip.AddrPort
	TLS  bool
}

// Check returns the one endpoint that replyto may mean for a request that came from src, or an error. It may look a name up
// and so take a second.
func (g *Guard) Check(ctx context.Context, replyto string, src netip.Addr) (Endpoint, error) {
	panic(stub.TODO)
}

// Passes makes and checks the notes by which a host's monitor tells the host's services, over a broker that others may
// publish to as well, that a request was checked and what endpoint it means. The key is shared through a file in the state
// directory.
type Passes struct{ _ int }

// LoadPasses reads the key from the file report.key in stateDir, or makes it (mode 0640).
func LoadPasses(stateDir string) (*Passes, error) { panic(stub.TODO) }

// Issue returns the note for the request.
func (p *Passes) Issue(r reports.Request, e Endpoint, now time.Time) string { panic(stub.TODO) }

// Open checks r.Pass, that it belongs to this very request (cmd, replyto, topic, id, seq) and is younger than a minute, and
// returns the endpoint.
func (p *Passes) Open(r reports.Request, now time.Time) (Endpoint, error) { panic(stub.TODO) }

// SweepConfig says whom to ask and for how long.
type SweepConfig struct {
	ID         uint64        // 0 for a random one; below 2^53, so that it stands exactly in JSON too
	Port       int           // 0: Port
	To         []string      // addresses, or addr:port, to ask instead of every interface's directed broadcast address
	Interfaces []string      // only these
	Wait       time.Duration // listen at most this long; a sweep with no news ends earlier, see Sweep
	Sealed     bool          // send the sealed form
	Legacy     bool          // send the original form
	// ReplyTo returns what stands in replyto of the original form for a request that leaves from local; with Topic.
	ReplyTo func(local netip.Addr) string
	Topic   string
	// BrokerPort is the port of a broker on the requester's own address that answers may go to, for the sealed form; 0: none.
	BrokerPort uint16
	Expect     []ID // hosts known from earlier: the sweep does not end early while one of them is silent
	Log        *slog.Logger
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
	Warnings              []string // an interface that could not be used, and why
}

// Sweep asks and calls found for each host once, as it answers, from one goroutine. It ends at Wait, or earlier once a
// second request has gone out and there was no new host for a quarter of Wait and no host of Expect is missing. The error is
// for a request that could not be sent at all.
func Sweep(ctx context.Context, c SweepConfig, found func(Answer)) (SweepStats, error) {
	panic(stub.TODO)
}
