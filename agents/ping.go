package agents

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

// The ping agent says whether hosts answer an ICMP echo request, how long that takes, and how many of the last requests were
// lost. It needs no rights but the kernel's leave to send echo requests (net.ipv4.ping_group_range).
//
// A name is resolved anew for each request. Where that fails nothing is known of the host: its points have an error then, and
// go stale. Looking at a host sends one request, whichever of its points are asked for.

func pingFactory() Factory {
	return Factory{
		Name:    "ping",
		Doc:     "Whether hosts answer on the network, how fast, and how many requests are lost.",
		Wiring:  pingWiring,
		Example: "sim: true\nhosts:\n  router: {address: 192.168.1.1}\n  web: {address: example.org, family: 6}\n",
		Defaults: func() Options {
			return &pingOptions{Poll: reports.Duration(10 * time.Second), Window: 20}
		},
		New: func(o Options, d Deps) (Agent, error) {
			opts, ok := o.(*pingOptions)
			if !ok {
				return nil, fmt.Errorf("ping: options are a %T", o)
			}
			if opts.Sim {
				return newPing(*opts, &pingSimulator{time.Now})
			}
			net, err := newPingNetwork(d.Root)
			if err != nil {
				return nil, err
			}
			return newPing(*opts, net)
		},
	}
}

// pingWiring is Factory.Wiring.
const pingWiring = `Nothing to wire. systemd lets every user send echo requests on most systems; where it does not, a file
/etc/sysctl.d/50-ping.conf with the line ` + "`net.ipv4.ping_group_range = 0 2147483647`" + ` does, for IPv6 as well, after
` + "`sysctl --system`" + `. The two numbers are the first and the last group whose members may; 1 0 means nobody, not even root.`

// pingOptions are the options of the ping agent.
type pingOptions struct {
	Hosts   map[string]pingHost `yaml:"hosts" doc:"the hosts, by the names that their points are to have"`
	Poll    reports.Duration    `yaml:"poll" doc:"how often one request is sent to each host"`
	Timeout reports.Duration    `yaml:"timeout" doc:"how long the name and the answer may take together; default: 1s, or four fifths of poll where that is less"`
	Window  int                 `yaml:"window" doc:"of how many requests the loss is told"`
	Sim     bool                `yaml:"sim" doc:"made-up answers instead of the network; only when asked for"`
}

// pingHost is one host.
type pingHost struct {
	Address string `yaml:"address" doc:"name or address; default: the name of its points"`
	Family  string `yaml:"family" doc:"4 or 6; default: what the name resolves to first"`
	Label   string `yaml:"label" doc:"for people; default: the name"`
}

// Bounds. Requests to all hosts are sent at once, from a socket each.
const (
	pingLeastPoll = time.Second
	pingMostHosts = 64
	pingMostLoss  = 1000
)

// pingTimeout is the default.
const pingTimeout = time.Second

// timeout returns how long a request may take.
func (o *pingOptions) timeout() time.Duration {
	return timeoutOr(o.Timeout, pingTimeout, o.Poll)
}

// Validate checks the options without the network.
func (o *pingOptions) Validate() error {
	switch {
	case len(o.Hosts) == 0:
		return config.At("hosts", "there are none")
	case len(o.Hosts) > pingMostHosts:
		return config.At("hosts", "%d are too many, at most %d are allowed", len(o.Hosts), pingMostHosts)
	case time.Duration(o.Poll) < pingLeastPoll:
		return config.At("poll", "%s is too often, at least %s is needed", o.Poll, pingLeastPoll)
	case time.Duration(o.Timeout) > sampleTimeout(time.Duration(o.Poll)):
		return config.At("timeout", "%s must be at most %s, four fifths of poll and no more than %s", o.Timeout,
			sampleTimeout(time.Duration(o.Poll)), mostTimeout)
	case o.Window < 1 || o.Window > pingMostLoss:
		return config.At("window", "%d is not from 1 to %d", o.Window, pingMostLoss)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Hosts)) {
		if err := o.Hosts[name].validate("hosts."+name, name); err != nil {
			return err
		}
	}
	return nil
}

func (h pingHost) validate(at, name string) error {
	p := reports.Point{Path: name + "/reachable", Type: reports.Bool, Access: reports.Get}
	if err := p.Validate(); err != nil || name == simulatedPath || strings.Contains(name, "/") {
		return config.At(at, "%.60q can't be the name of points", name)
	}
	if !slices.Contains([]string{"", "4", "6"}, h.Family) {
		return config.At(at+".family", "%.20q is not 4 or 6", h.Family)
	}
	address := h.address(name)
	if len(address) > 253 || strings.ContainsFunc(address, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return config.At(at+".address", "%.60q is neither a name nor an address", address)
	}
	if ip, err := netip.ParseAddr(address); err == nil {
		if err := pingTarget(ip); err != nil {
			return config.At(at+".address", "%w", err)
		}
		if h.Family != "" && ip.Unmap().Is4() != (h.Family == "4") {
			return config.At(at+".family", "%s is no address of IPv%s", ip, h.Family)
		}
	}
	return nil
}

// address returns what is pinged.
func (h pingHost) address(name string) string {
	if h.Address == "" {
		return name
	}
	return h.Address
}

// pingTarget refuses addresses that are not those of one host.
func pingTarget(ip netip.Addr) error {
	if ip.IsUnspecified() || ip.IsMulticast() || ip.Unmap() == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return fmt.Errorf("%s is not the address of one host", ip)
	}
	return nil
}

// errPingLost is why a request has no answer, which is no failure of the agent.
var errPingLost = errors.New("no answer")

// pingEcho is the seam: it sends one request and waits for its answer until ctx ends. errPingLost says that there was none.
type pingEcho interface {
	echo(ctx context.Context, host pingHost) (time.Duration, error)
}

type ping struct {
	*snapshot[map[string]pingAnswer]
	o     pingOptions
	echo  pingEcho
	tries map[string]*pingWindow
}

// pingAnswer is what came of one request.
type pingAnswer struct {
	took time.Duration
	lost bool
	loss float64
	err  error
}

func newPing(o pingOptions, echo pingEcho) (*ping, error) {
	p := &ping{o: o, echo: echo, tries: map[string]*pingWindow{}}
	p.snapshot = newSnapshot(newSensor("ping", o.Sim), p.look)
	p.least = max(pingLeastPoll, leastPollFor(o.timeout()))
	for _, name := range slices.Sorted(maps.Keys(o.Hosts)) {
		p.tries[name] = &pingWindow{size: o.Window}
		p.describe(name, o.Hosts[name])
	}
	return p, nil
}

func (p *ping) describe(name string, h pingHost) {
	label := h.Label
	if label == "" {
		label = name
	}
	add := func(point reports.Point, pick func(pingAnswer) (any, error)) {
		point.Path, point.Poll = name+"/"+point.Path, p.o.Poll
		p.take(point, func(seen map[string]pingAnswer) (any, error) {
			a := seen[name]
			if a.err != nil {
				return nil, a.err
			}
			return pick(a)
		})
	}
	add(reports.Point{Path: "reachable", Label: label + " reachable", Help: h.address(name), Type: reports.Bool, Class: "connectivity", Genre: reports.Basic},
		func(a pingAnswer) (any, error) { return !a.lost, nil })
	add(reports.Point{Path: "round_trip", Label: label + " round trip", Type: reports.Float, Unit: "ms", Class: "duration", Min: reports.Ptr(0), Genre: reports.User},
		func(a pingAnswer) (any, error) {
			if a.lost {
				return nil, errNoValue
			}
			return float64(a.took.Microseconds()) / 1000, nil
		})
	add(reports.Point{Path: "loss", Label: label + " loss", Help: fmt.Sprintf("of the last %d requests", p.o.Window), Type: reports.Float, Unit: "%",
		Min: reports.Ptr(0), Max: reports.Ptr(100), Genre: reports.User}, func(a pingAnswer) (any, error) { return a.loss, nil })
}

// look sends a request to each host of the paths, all at once.
func (p *ping) look(ctx context.Context, paths []string) (map[string]pingAnswer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.o.timeout())
	defer cancel()
	var mu sync.Mutex
	var wait sync.WaitGroup
	out := map[string]pingAnswer{}
	names := map[string]bool{}
	for _, path := range paths {
		name, _, _ := strings.Cut(path, "/")
		names[name] = true
	}
	for name := range names {
		h := p.o.Hosts[name]
		h.Address = h.address(name)
		wait.Go(func() {
			took, err := p.echo.echo(ctx, h)
			mu.Lock()
			defer mu.Unlock()
			out[name] = p.tries[name].note(took, err)
		})
	}
	wait.Wait()
	return out, nil
}

// pingWindow is what came of the last requests to a host.
type pingWindow struct {
	size int
	lost []bool
}

// note adds what came of a request. One that could not be sent does not count.
func (w *pingWindow) note(took time.Duration, err error) pingAnswer {
	lost := errors.Is(err, errPingLost)
	if err != nil && !lost {
		return pingAnswer{err: err}
	}
	w.lost = append(w.lost[max(0, len(w.lost)-w.size+1):], lost)
	n := 0
	for _, l := range w.lost {
		if l {
			n++
		}
	}
	return pingAnswer{took: took, lost: lost, loss: 100 * float64(n) / float64(len(w.lost))}
}
