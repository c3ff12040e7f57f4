// Package config reads YAML into typed, checked settings: strict keys, one line per error with file and line, a suggestion
// for a misspelt key. It also saves files so that a power cut leaves the old or the new one whole.
//
// It is the one owner of the YAML library: agents decode their options and their setup documents through Node.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"rollcall/reports"
)

// Config is the whole configuration file of a host, /etc/rollcall/rollcall.yaml. The zero file is a working host.
type Config struct {
	Host      string    `yaml:"host" doc:"name of this host in every topic; default: the hostname up to its first dot"`
	StateDir  string    `yaml:"state_dir" doc:"folder for what must survive a restart: set-ups made over MQTT, retained messages, the host's id; one process at a time runs an agent of one name with it"`
	Discovery Discovery `yaml:"discovery"`
	Broker    Broker    `yaml:"broker"`
	Metrics   Metrics   `yaml:"metrics"`
	Janitoo   Janitoo   `yaml:"janitoo"`
	Faces     []Face    `yaml:"-"` // in the order of the file; in YAML a map from name to options under "faces"
	Agents    []Agent   `yaml:"-"` // in the order of the file; in YAML a map from name to options under "agents"
}

// Discovery says how the host answers "who are you?".
type Discovery struct {
	Port                int      `yaml:"port" doc:"UDP port"`
	Interfaces          []string `yaml:"interfaces" doc:"interfaces to answer on; default: every usable one"`
	ReplyTo             []string `yaml:"reply_to" doc:"host names, addresses or CIDRs that may be replied to beside the datagram's own source"`
	Legacy              *bool    `yaml:"legacy" doc:"answer unsigned requests; default: true until authorized_operators exists"`
	Hello               bool     `yaml:"hello" doc:"say HELLO to the network at the start and at a new address, and BYE at the end; only on port 37030"`
	Relay               bool     `yaml:"relay" doc:"ask this host's networks for operators who are in other ones; only where authorized_operators exists"`
	AuthorizedOperators string   `yaml:"authorized_operators" doc:"file of the operators who may ask and control"`
	ExtAddr             ExtAddr  `yaml:"extaddr"`
}

// ExtAddr says where the host learns its public address. It is off while URL is empty.
type ExtAddr struct {
	URL   string           `yaml:"url" doc:"a URL that answers with the caller's public address as plain text; empty: off"`
	Every reports.Duration `yaml:"every" doc:"how often it is asked"`
}

// Broker says which MQTT broker is the host's own: the embedded one, or the one at URL.
type Broker struct {
	Listen    string `yaml:"listen" doc:"address of the embedded broker; 0.0.0.0:1883 opens it to the network; port 0 takes a free one; empty where url is given"`
	ListenTLS string `yaml:"listen_tls" doc:"address of the embedded broker for operators, with TLS, once authorized_operators exists; off: none"`
	// ListenJanitoo is for clients that know no user, password or TLS (JANITOO.md §0.4).
	ListenJanitoo string `yaml:"listen_janitoo" doc:"address of the embedded broker for Janitoo's programs, which can't log in: plain, open to anyone, for Janitoo's topics alone; off: none"`
	URL           string `yaml:"url" doc:"an existing broker to use instead of the embedded one: tcp:// or mqtt://host:port, ssl:// or mqtts:// for TLS"`
	Username      string `yaml:"username" doc:"user name at the broker of url"`
	PasswordFile  string `yaml:"password_file" doc:"file with the password at the broker of url"`
}

// Metrics says where Prometheus may scrape the host.
type Metrics struct {
	Listen string `yaml:"listen" doc:"address of /metrics for Prometheus; 0.0.0.0:9137 opens it to the network; off: none"`
}

// Face is one entry of "faces": a protocol that the host speaks beside its own, and its options, still undecoded.
type Face struct {
	Name    string
	Options Node
}

// Agent is one entry of "agents": the service Name, the kind of agent it runs, and the options of that kind, still undecoded.
type Agent struct {
	Name    string
	Kind    string            // "agent:", or Name where that key is missing
	Log     LogLevel          // "log:", what of its log the service publishes on its log topic
	Points  map[string]Filter // "points:", by path or path pattern (path.Match); what the runner does for each point
	Options Node              // all other keys; decode it into the kind's own options
}

// Errorf returns an *Error about the agent's entry in the file: about its key, or about the whole entry where key is "".
func (a Agent) Errorf(key, format string, args ...any) error {
	n := a.Options
	n.own = nil
	return n.Errorf(key, format, args...)
}

// Filter is what the runner does with the values of a point between the agent and the broker. Nil means the point's own
// default. Order: scale, offset, clamp, digits; then stale, on_change, delta, min_interval, heartbeat.
type Filter struct {
	Poll        *reports.Duration `yaml:"poll" doc:"how often the point is read; at least 10ms; 0: once, and when asked"`
	Scale       *float64          `yaml:"scale" doc:"multiplies the value; not 0"`
	Offset      *float64          `yaml:"offset" doc:"is added to the scaled value"`
	Min         *float64          `yaml:"min" doc:"a lower value becomes this"`
	Max         *float64          `yaml:"max" doc:"a higher value becomes this"`
	Digits      *int              `yaml:"digits" doc:"decimal places, 0 to 9"`
	OnChange    *bool             `yaml:"on_change" doc:"publish only a value that differs from the last one published"`
	Delta       *float64          `yaml:"delta" doc:"publish only a change of at least this much"`
	MinInterval *reports.Duration `yaml:"min_interval" doc:"publish at most this often; the last value is never lost; at least 1ms; 0: as it comes"`
	Heartbeat   *reports.Duration `yaml:"heartbeat" doc:"publish at least this often; at least 100ms, and no less than min_interval; 0: only when there is something new"`
	StaleAfter  *reports.Duration `yaml:"stale_after" doc:"how old a value may get before it counts as stale and its topic is emptied; at least 100ms, and no less than poll; 0: never; default: three polls, 10s at least, for a point that is polled"`
}

// Default returns the configuration of an empty file, but for Host, which Parse takes from the machine.
func Default() Config {
	return Config{
		StateDir: "/var/lib/rollcall",
		Discovery: Discovery{
			Port:                37030,
			Hello:               true,
			Relay:               true,
			AuthorizedOperators: "/etc/rollcall/authorized_operators",
			ExtAddr:             ExtAddr{Every: reports.Duration(time.Hour)},
		},
		Broker:  Broker{Listen: defaultListen, ListenTLS: defaultListenTLS, ListenJanitoo: Off},
		Metrics: Metrics{Listen: DefaultMetrics},
		Janitoo: Janitoo{Network: Off},
	}
}

const (
	defaultListen    = "127.0.0.1:1883"
	defaultListenTLS = "0.0.0.0:8883"
)

// DefaultMetrics is where /metrics is where no other address is given.
const DefaultMetrics = "127.0.0.1:9137"

// Off is the address of a listener that is not wanted.
const Off = "off"

// Load reads and checks the configuration file. Every error is an *Error with file and line. "" means no file: the defaults.
func Load(path string) (Config, error) {
	if path == "" {
		return Parse("", nil)
	}
	doc, err := readFile(path)
	if err != nil {
		return Config{}, &Error{File: path, Text: reason(err), Err: err}
	}
	return Parse(path, doc)
}

// errPipe refuses what would have the program wait for a writer, deaf to signals.
var errPipe = errors.New("a pipe or socket, not a file")

// readFile reads a file, or its first MaxBytes+1 bytes: a device may never end.
func readFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		return nil, errPipe
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	doc, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	return doc, errors.Join(err, f.Close())
}

// reason returns what the system said, without the path that stands before it already.
func reason(err error) string {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err.Error()
	}
	return err.Error()
}

// Parse reads and checks a configuration document; name stands for the file in errors.
func Parse(name string, doc []byte) (Config, error) { return parse(name, doc, os.Hostname) }

// file is a configuration file as it is decoded.
type file struct {
	Config `yaml:",inline"`
	Agents Node `yaml:"agents"`
	Faces  Node `yaml:"faces"`
}

// Validate checks all but the agents.
func (f *file) Validate() error { return f.Config.check() }

func parse(name string, doc []byte, hostname func() (string, error)) (Config, error) {
	n, err := ParseNode(name, doc)
	if err != nil {
		return Config{}, err
	}
	f := file{Config: Default()}
	f.Broker.Listen = "" // so that one that was given can be told from the default
	if err := n.Decode(&f); err != nil {
		return Config{}, err
	}
	c := f.Config
	switch {
	case c.Broker.Listen == "" && n.Has("broker.listen"):
		return Config{}, n.Errorf("broker.listen", "is empty; leave the key out for %s", defaultListen)
	case c.Broker.Listen == "" && c.Broker.URL == "":
		c.Broker.Listen = defaultListen
	}
	if c.Host == "" {
		if c.Host, err = ownName(hostname); err != nil {
			return Config{}, n.Errorf("host", "%w", err)
		}
	}
	if err := c.checkJanitoo(); err != nil {
		return Config{}, n.Errorf("broker.listen_janitoo", "%w", err)
	}
	if c.Agents, err = agentsOf(f.Agents); err != nil {
		return Config{}, err
	}
	if c.Faces, err = facesOf(f.Faces); err != nil {
		return Config{}, err
	}
	return c, nil
}

// facesOf reads the map from names to options under "faces".
func facesOf(n Node) ([]Face, error) {
	entries, err := n.Entries()
	if err != nil {
		return nil, err
	}
	var out []Face
	for _, e := range entries {
		if err := checkName(e.Key); err != nil {
			return nil, e.Value.Errorf("", "%w", err)
		}
		out = append(out, Face{Name: e.Key, Options: e.Value})
	}
	return out, nil
}

// ownName returns the machine's name up to its first dot.
func ownName(hostname func() (string, error)) (string, error) {
	full, err := hostname()
	if err != nil {
		return "", fmt.Errorf("is not given, and the hostname can't be read: %w", err)
	}
	name, _, _ := strings.Cut(full, ".")
	if err := checkName(name); err != nil {
		return "", fmt.Errorf("is not given, and the hostname %s can't stand for it: %w", show(full), err)
	}
	return name, nil
}

// agentsOf reads the map from names to options under "agents".
func agentsOf(n Node) ([]Agent, error) {
	entries, err := n.Entries()
	if err != nil {
		return nil, err
	}
	var out []Agent
	for _, e := range entries {
		a, err := agentOf(e.Key, e.Value)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}

func agentOf(name string, n Node) (Agent, error) {
	a := Agent{Name: name, Kind: name, Options: n.Without("agent", "log", "points")}
	if err := checkName(name); err != nil {
		return a, n.Errorf("", "%w", err)
	}
	entries, err := n.Entries()
	if err != nil {
		return a, err
	}
	for _, e := range entries {
		switch e.Key {
		case "agent":
			if err := e.Value.Decode(&a.Kind); err != nil {
				return a, err
			}
			if err := reports.ValidName(a.Kind); err != nil {
				return a, e.Value.Errorf("", "%w", err)
			}
		case "log":
			if err := e.Value.Decode(&a.Log); err != nil {
				return a, err
			}
		case "points":
			if a.Points, err = filtersOf(e.Value); err != nil {
				return a, err
			}
		}
	}
	return a, nil
}
