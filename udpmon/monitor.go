package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	"rollcall/config"
	"rollcall/internal/broker"
	"rollcall/internal/bus"
	"rollcall/internal/discover"
	"rollcall/internal/run"
	"rollcall/reports"
)

// monitor is one run of the daemon with one configuration.
type monitor struct {
	cfg    config.Config
	log    *slog.Logger
	id     discover.ID
	passes *discover.Passes

	broker    *broker.Broker // nil where the host uses a broker that is already there
	client    *bus.Client
	responder *discover.Responder

	services services     // what the host's services say of themselves
	hosts    *heard       // the map of hosts
	replies  replyTopics  // where answers to this host's own sweeps come in
	ext      extAddr      // the public address
	brokers  []string     // what the host tells of its broker
	loopback bool         // the broker is of use on this machine only
	answers  chan request // getapps to be answered
	started  time.Time
	reloads  sync.Mutex // guards cfg.Discovery
}

type request struct {
	reports.Request
	endpoint discover.Endpoint
}

// newMonitor opens the sockets and files of the configuration, so that what is taken or not permitted is an error here.
func newMonitor(cfg config.Config, log *slog.Logger) (_ *monitor, err error) {
	m := &monitor{cfg: cfg, log: log, answers: make(chan request, 16), started: time.Now()}
	if err := os.MkdirAll(cfg.StateDir, 0o750); err != nil {
		return nil, fmt.Errorf("state_dir: %w", err)
	}
	if m.id, err = discover.LoadID(cfg.StateDir); err != nil {
		return nil, err
	}
	if m.passes, err = discover.LoadPasses(cfg.StateDir); err != nil {
		return nil, err
	}
	if m.hosts, err = loadHeard(filepath.Join(cfg.StateDir, "heard.json"), time.Now); err != nil {
		log.Warn("map of hosts begins empty", "err", err)
	}
	guard, err := discover.NewGuard(cfg.Discovery.ReplyTo, nil)
	if err != nil {
		return nil, fmt.Errorf("discovery.reply_to: %w", err)
	}
	conn, err := discover.Listen(fmt.Sprintf(":%d", cfg.Discovery.Port))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if cfg.Broker.URL == "" {
		m.broker, err = broker.New(broker.Config{
			Listen:  []string{cfg.Broker.Listen},
			Store:   filepath.Join(cfg.StateDir, "retained.db"),
			Allow:   m.allow,
			Restore: m.restore,
			Log:     log,
		})
		if err != nil {
			return nil, err
		}
	}
	local, err := m.brokerURL()
	if err != nil {
		return nil, err
	}
	if m.client, err = m.newClient(local.String()); err != nil {
		return nil, err
	}
	open, legacy := m.openness(cfg)
	m.responder, err = discover.NewResponder(discover.ResponderConfig{
		Conn: conn, Interfaces: cfg.Discovery.Interfaces, Legacy: legacy, Open: open, Guard: guard, Passes: m.passes,
		KnownHost: m.hosts.has, Publish: m.publish, ExtAddr: m.ext.get,
		LocalReplyTo: local.Host, LocalTopic: "/" + cfg.Host + "/report", Log: log,
	})
	return m, err
}

// openness returns whether the host answers anyone, and whether it answers the original form. A host that names its operators
// does neither (PROTOCOL.md §2), until legacy says otherwise.
func (m *monitor) openness(cfg config.Config) (open, legacy bool) {
	_, err := os.Stat(cfg.Discovery.AuthorizedOperators)
	open = errors.Is(err, fs.ErrNotExist) // a file that can't be looked at is no invitation
	legacy = open
	if cfg.Discovery.Legacy != nil {
		legacy = *cfg.Discovery.Legacy
	}
	switch {
	case open:
		m.log.Warn("host is open: anyone on its networks may ask who it is", "close_with", cfg.Discovery.AuthorizedOperators)
	case !legacy:
		m.log.Warn("authorized_operators exists: unsigned requests are not answered", "file", cfg.Discovery.AuthorizedOperators)
	}
	return open, legacy
}

// brokerURL returns the URL by which this machine reaches the host's broker, and fills in what others are told of it.
func (m *monitor) brokerURL() (*url.URL, error) {
	if m.broker == nil {
		u, err := url.Parse(m.cfg.Broker.URL)
		if err != nil {
			return nil, fmt.Errorf("broker.url: %w", err)
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), "1883")
		}
		addr, err := netip.ParseAddr(u.Hostname())
		m.loopback = u.Hostname() == "localhost" || (err == nil && addr.IsLoopback())
		m.brokers = []string{u.String()}
		return u, nil
	}
	at := m.broker.Addrs()[0].(*net.TCPAddr).AddrPort()
	m.loopback = at.Addr().IsLoopback()
	if m.loopback || !at.Addr().IsUnspecified() {
		m.brokers = []string{"tcp://" + at.String()}
		return &url.URL{Scheme: "tcp", Host: at.String()}, nil
	}
	for _, a := range localAddrs() {
		m.brokers = append(m.brokers, "tcp://"+netip.AddrPortFrom(a, at.Port()).String())
	}
	m.log.Warn("broker is open to the network", "listen", m.cfg.Broker.Listen)
	return &url.URL{Scheme: "tcp", Host: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()}, nil
}

// newClient returns the monitor's own connection to the host's broker.
func (m *monitor) newClient(broker string) (*bus.Client, error) {
	status := func(s reports.Status) bus.Message {
		return bus.Message{Topic: reports.HostStatus(m.cfg.Host), Payload: []byte(s), QoS: 1, Retained: true}
	}
	offline := status(reports.Offline)
	c := bus.Config{URL: broker, ClientID: "udpmon-" + m.id.String(), Will: &offline, Last: []bus.Message{offline}, Log: m.log,
		Username: m.cfg.Broker.Username}
	if file := m.cfg.Broker.PasswordFile; file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("broker.password_file: %w", err)
		}
		c.Password = strings.TrimRight(string(b), "\r\n")
	}
	client, err := bus.New(c)
	if err != nil {
		return nil, fmt.Errorf("broker.url: %w", err)
	}
	client.Keep(status(reports.Online))
	return client, nil
}

// run serves until ctx ends.
func (m *monitor) run(ctx context.Context) error {
	m.services.changed, m.replies.fresh = make(chan struct{}, 1), make(chan string, 8)
	if err := m.subscribe(ctx); err != nil {
		return err
	}
	m.describe()
	tasks := []run.Task{
		{Name: "responder", Run: m.responder.Run},
		{Name: "mqtt", Run: m.client.Run},
		{Name: "cache", Run: m.refresh},
		{Name: "hosts", Run: m.age},
		{Name: "getapps", Run: m.answerApps},
		{Name: "extaddr", Run: func(ctx context.Context) error { return m.ext.run(ctx, m.cfg.Discovery.ExtAddr, m.log, m.describe) }},
		run.Watchdog(m.healthy),
	}
	if m.broker != nil {
		// The broker outlives the client, so that the client's clean goodbye still reaches it.
		served, stop := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan error, 1)
		go func() { done <- m.broker.Run(served) }()
		defer func() { stop(); <-done }()
		tasks = append(tasks, run.Task{Name: "broker", Run: func(ctx context.Context) error {
			select {
			case <-ctx.Done():
				return nil
			case err := <-done:
				done <- nil
				return fmt.Errorf("ended by itself: %w", err)
			}
		}})
	}
	m.log.Info("up", "host", m.cfg.Host, "id", m.id.String(), "port", m.cfg.Discovery.Port, "brokers", m.brokers)
	run.Notify(run.Ready)
	return run.Tasks(ctx, tasks...)
}

// healthy is what systemd's watchdog asks: with the broker in this process, its client must be connected.
func (m *monitor) healthy() error {
	if m.broker != nil && !m.client.Connected() {
		return errors.New("the embedded broker does not answer")
	}
	return nil
}

// reload puts cfg in force if it changes only what needs no new sockets, and says whether it did.
func (m *monitor) reload(cfg config.Config) bool {
	soft := m.cfg
	soft.Discovery.Interfaces, soft.Discovery.ReplyTo, soft.Discovery.Legacy = cfg.Discovery.Interfaces, cfg.Discovery.ReplyTo, cfg.Discovery.Legacy
	soft.Discovery.AuthorizedOperators, soft.Agents = cfg.Discovery.AuthorizedOperators, cfg.Agents
	if !reflect.DeepEqual(soft, cfg) {
		return false
	}
	guard, err := discover.NewGuard(cfg.Discovery.ReplyTo, nil)
	if err != nil {
		return false // config has checked the list; newMonitor will say what is wrong
	}
	open, legacy := m.openness(cfg)
	m.responder.Reload(cfg.Discovery.Interfaces, legacy, open, guard)
	m.reloads.Lock()
	m.cfg = cfg
	m.reloads.Unlock()
	m.describe()
	return true
}

// publish hands an obeyed request to the host's programs. A request that finds the broker gone is dropped: its answer would
// come too late to be of use.
func (m *monitor) publish(r reports.Request, from netip.AddrPort, own bool) {
	if own {
		m.hosts.sweep()
		if r.Pass != "" { // its answers come to a broker of this host
			m.replies.add(r.Topic)
		}
	}
	payload, err := r.MarshalJSON()
	if err != nil || !m.client.Connected() {
		m.log.Debug("request not published", "from", from, "connected", m.client.Connected(), "err", err)
		return
	}
	m.client.Send(bus.Message{Topic: reports.ReportTopic, Payload: payload, QoS: 1})
	if r.Cmd != "getapps" || r.Pass == "" {
		return
	}
	endpoint, err := m.passes.Open(r, time.Now())
	if err != nil {
		m.log.Error("own pass refused", "err", err)
		return
	}
	select {
	case m.answers <- request{r, endpoint}:
	default:
		m.log.Warn("getapps dropped: too many at once", "from", from)
	}
}

// answerApps answers getapps at the requester's broker, one after the other.
func (m *monitor) answerApps(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-m.answers:
			if err := m.answer(ctx, r); err != nil {
				m.log.Info("getapps not answered", "broker", r.endpoint.Addr, "err", err)
			}
		}
	}
}

// answerWithin bounds an answer at a requester's broker, so that one that hangs does not hold up the others.
const answerWithin = 3 * time.Second

func (m *monitor) answer(ctx context.Context, r request) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	payload, err := marshal(reports.AppsFor(r.Request, m.services.names()))
	if err != nil {
		return err
	}
	return bus.Deliver(ctx, bus.ForeignAt(r.endpoint.Addr, r.endpoint.TLS), bus.Message{Topic: r.Topic, Payload: payload, QoS: 1})
}
