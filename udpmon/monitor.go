package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rollcall/config"
	"rollcall/internal/broker"
	"rollcall/internal/bus"
	"rollcall/internal/discover"
	"rollcall/internal/run"
	"rollcall/internal/trust"
	"rollcall/reports"
)

// monitor is one run of the daemon with one configuration, of which reload can change a part.
type monitor struct {
	cfg      config.Config // what it began with; see settings
	password string        // at the broker of cfg
	log      *slog.Logger
	failures seldom
	now      func() time.Time
	minute   <-chan time.Time // nil: a ticker's
	patience patience

	id      discover.ID
	passes  *discover.Passes
	key     trust.Key
	facts   facts
	started time.Time

	conn      *net.UDPConn
	broker    *broker.Broker // nil where the host uses a broker that is already there
	at        brokerAt
	client    *bus.Client
	responder *discover.Responder
	ready     chan struct{} // closed once everything serves

	services *services     // what the host's services say of themselves
	hosts    *heard        // the map of hosts
	mapping  sync.Mutex    // held while the map changes
	replies  replyTopics   // where answers to this host's own requests come in
	expired  chan struct{} // size 1: some of replies may have
	ext      extAddr       // the public address
	viewers  viewers
	view     *view // what the faces see; nil without any
	faces    []*face
	metrics  *metrics // nil: not served
	janitoo  *janitoo // nil: nothing for Janitoo's network
	connects atomic.Int64

	brokerAddrs atomic.Pointer[[]netip.Addr] // of a broker on another machine
	asks        chan reports.Request         // this host's own, to be published once their answers are listened for
	answers     chan discoveredRequest       // getapps to be answered

	mu       sync.Mutex
	settings config.Config  // in force
	open     bool           // the host answers anyone
	legacy   bool           // the host answers the original form
	safe     netip.AddrPort // where operators reach the broker over TLS; not valid: nowhere

	operators atomic.Pointer[trust.Operators] // nil: the host is open
	strict    atomic.Bool                     // the broker is for operators and this machine only
	mistake   string                          // in authorized_operators, as it was logged last
}

// patience says how long the monitor waits for brokers that may not be there.
type patience struct {
	ready  time.Duration // READY=1, for the host's own
	answer time.Duration // an answer, for a requester's: to connect, publish and be acknowledged
}

func defaultPatience() patience { return patience{ready: 3 * time.Second, answer: 3 * time.Second} }

// newMonitor opens the sockets and files of the configuration, so that what is taken or not permitted is an error here. What
// it returns must be run.
func newMonitor(cfg config.Config, now func() time.Time, log *slog.Logger) (_ *monitor, err error) {
	m := &monitor{cfg: cfg, settings: cfg, log: log, now: now, started: time.Now(), facts: readFacts(), services: newServices(), patience: defaultPatience(),
		ready: make(chan struct{}), expired: make(chan struct{}, 1),
		asks: make(chan reports.Request, 16), answers: make(chan discoveredRequest, 16)}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	if err := m.loadState(); err != nil {
		return nil, err
	}
	if m.conn, err = discover.Listen(fmt.Sprintf(":%d", cfg.Discovery.Port)); err != nil {
		return nil, fmt.Errorf("discovery.port: %w", err)
	}
	if err := m.openBroker(); err != nil {
		return nil, err
	}
	if err := m.newClient(); err != nil {
		return nil, err
	}
	if err := m.newResponder(); err != nil {
		return nil, err
	}
	if err := m.openMetrics(); err != nil {
		return nil, err
	}
	return m, nil
}

// loadState reads what is kept in the state folder, or makes it.
func (m *monitor) loadState() (err error) {
	dir := m.cfg.StateDir
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if m.id, err = discover.LoadID(dir); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if m.passes, err = discover.LoadPasses(dir); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if err = m.loadKey(); err != nil {
		return fmt.Errorf("state_dir: %w", err)
	}
	if err := config.Tidy(filepath.Join(dir, "heard.json")); err != nil {
		m.log.Warn("what a crash has left stays", "err", err)
	}
	if m.hosts, err = loadHeard(filepath.Join(dir, "heard.json"), m.now()); err != nil {
		m.log.Warn("map of hosts begins empty", "err", err)
	}
	return nil
}

// openBroker opens the embedded broker, where there is to be one, and finds out where the host's broker is.
func (m *monitor) openBroker() (err error) {
	if m.cfg.Broker.URL != "" {
		m.at, err = externalBroker(m.cfg.Broker.URL)
		return err
	}
	m.broker, err = broker.New(broker.Config{
		Listen:  []string{m.cfg.Broker.Listen},
		Guests:  janitooAddrs(m.cfg.Broker),
		Store:   filepath.Join(m.cfg.StateDir, "retained.db"),
		Allow:   m.allow,
		Trusted: broker.Peer.Loopback,
		Command: m.isCommand,
		Restore: m.restore,
		Refuse:  m.refuse,
		Log:     m.log,
	})
	if errors.Is(err, broker.ErrGuests) {
		return fmt.Errorf("broker.listen_janitoo: %w", err)
	}
	if err != nil {
		return fmt.Errorf("broker.listen: %w", err)
	}
	if guests := m.broker.Addrs()[1:]; len(guests) > 0 {
		m.log.Warn("Janitoo's topics are open to anyone who reaches the address", "listen_janitoo", guests)
	}
	m.at = embeddedBroker(m.broker.Addrs()[0].(*net.TCPAddr).AddrPort())
	return nil
}

// newClient makes the monitor's own connection to the host's broker.
func (m *monitor) newClient() (err error) {
	status := func(s reports.Status) bus.Message {
		return bus.Message{Topic: reports.HostStatus(m.cfg.Host), Payload: []byte(s), QoS: 1, Retained: true}
	}
	if m.password, err = readPassword(m.cfg.Broker.PasswordFile); err != nil {
		return err
	}
	offline := status(reports.Offline)
	m.client, err = bus.New(bus.Config{
		URL: m.at.url, ClientID: "udpmon-" + m.id.String(), Username: m.cfg.Broker.Username, Password: m.password,
		Will: &offline, Last: []bus.Message{offline}, Log: m.log,
		OnUp: func() {
			m.connects.Add(1)
			m.services.connected(m.now())
		},
		OnDown: func(error) {
			m.services.disconnected(m.now())
			m.viewers.each((*view).disconnected)
		},
	})
	if err != nil {
		return fmt.Errorf("broker.url: %w", err)
	}
	m.client.Keep(status(reports.Online))
	if err := m.subscribe(); err != nil {
		return err
	}
	if err := m.openJanitoo(); err != nil {
		return err
	}
	return m.openFaces()
}

// readPassword reads the file with the password; "" is none.
func readPassword(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("broker.password_file: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func (m *monitor) newResponder() error {
	guard, err := discover.NewGuard(m.cfg.Discovery.ReplyTo, nil)
	if err != nil {
		return fmt.Errorf("discovery.%w", err)
	}
	all, open, err := loadOperators(m.cfg)
	if err != nil {
		return err
	}
	m.look(all, open)
	if err := m.secure(); err != nil {
		return err
	}
	m.sayOpenness()
	m.responder, err = discover.NewResponder(discover.ResponderConfig{
		Conn: m.conn, Interfaces: m.cfg.Discovery.Interfaces, Legacy: m.legacy, Open: m.open, Operators: m.mayAsk, Key: m.key,
		Floors: filepath.Join(m.cfg.StateDir, "floors.json"), Guard: guard, Passes: m.passes,
		KnownHost: m.hosts.has, Publish: m.publish, ExtAddr: m.ext.get, Brokers: m.brokers, Hello: m.cfg.Discovery.Hello && m.cfg.Discovery.Port == discover.Port,
		Relay:        m.cfg.Discovery.Relay,
		Swept:        func(id reports.ID) { m.hosts.sweep(id, m.now()) },
		LocalReplyTo: m.at.replyTo, LocalTopic: "/" + m.cfg.Host + "/report", Log: m.log,
	})
	if err == nil && m.at.open {
		m.log.Warn("broker is open to the network", "listen", m.cfg.Broker.Listen)
	}
	return err
}

// close gives back what newMonitor has opened.
func (m *monitor) close() {
	if m.conn != nil {
		_ = m.conn.Close() // nothing was to be kept
	}
	if m.broker != nil {
		_ = m.broker.Close() // nothing was written; why we close is the error that counts
	}
	m.janitoo.close()
}

// run serves until ctx ends. It can run once.
func (m *monitor) run(ctx context.Context) error {
	m.describe()
	tasks := []run.Task{
		{Name: "responder", Run: m.responder.Run},
		{Name: "mqtt", Run: m.client.Run},
		{Name: "cache", Run: m.refresh},
		{Name: "hosts", Run: m.keepMap},
		{Name: "requests", Run: m.ask},
		{Name: "getapps", Run: m.answerApps},
		{Name: "extaddr", Run: func(ctx context.Context) error { return m.ext.run(ctx, m.cfg.Discovery.ExtAddr, m.log, m.describe) }},
		{Name: "broker address", Run: m.keepBrokerAddrs},
		{Name: "systemd", Run: m.sayReady},
		run.Watchdog(m.healthy),
	}
	if m.metrics != nil {
		tasks = append(tasks, run.Task{Name: "metrics", Run: m.metrics.run})
	}
	for _, f := range m.faces {
		tasks = append(tasks, run.Task{Name: "face " + f.name, Run: f.run}, run.Task{Name: "mqtt of " + f.name, Run: f.client.Run})
	}
	if m.janitoo != nil {
		defer m.janitoo.close()
		tasks = append(tasks, run.Task{Name: "janitoo", Run: m.janitoo.run}, run.Task{Name: "mqtt of janitoo", Run: m.janitoo.client.Run})
	}
	if m.broker == nil {
		return run.Tasks(ctx, tasks...)
	}
	// The broker outlives the client, so that the client's clean goodbye still reaches it.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var failed error // of the broker; read after ended
	go func() {
		defer close(ended)
		failed = m.broker.Run(serving)
	}()
	err := run.Tasks(ctx, append(tasks, run.Task{Name: "broker", Run: func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return errors.New("ended by itself") // why, is added below
		}
	}})...)
	stop()
	<-ended
	return errors.Join(err, failed)
}

// sayReady tells systemd that the host serves: its sockets are open since newMonitor; what takes a moment is the connection to
// the broker. One that is not there, or not ours, keeps nobody waiting.
func (m *monitor) sayReady(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, m.patience.ready)
	defer cancel()
	err := m.client.Wait(wait)
	if ctx.Err() != nil {
		return nil
	}
	m.log.Info("up", "host", m.cfg.Host, "id", m.id.String(), "port", m.cfg.Discovery.Port, "broker", m.at.url, "connected", err == nil)
	close(m.ready)
	run.Notify(run.Ready)
	return nil
}

// healthy is what systemd's watchdog asks: with the broker in this process, its client must be connected.
func (m *monitor) healthy() error {
	if m.broker != nil && !m.client.Connected() {
		return errors.New("the embedded broker does not answer")
	}
	return nil
}
