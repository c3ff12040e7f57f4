// Package config reads YAML into typed, checked settings: strict keys, one line per error with file and line, a suggestion
// for a misspelt key. It also saves files so that a power cut leaves the old or the new one whole.
//
// It is the one owner of the YAML library: agents decode their options and their setup documents through Node.
package config

import "rollcall/internal/stub"
import "rollcall/reports"

// Config is the whole configuration file of a host, /etc/rollcall/rollcall.yaml. The zero file is a working host.
type Config struct {
	Host      string    `yaml:"host" doc:"name of this host in every topic; default: the hostname up to its first dot"`
	StateDir  string    `yaml:"state_dir" doc:"folder for what must survive a restart: set-ups made over MQTT, retained messages, the host's id"`
	Discovery Discovery `yaml:"discovery"`
	Broker    Broker    `yaml:"broker"`
	Agents    []Agent   `yaml:"-"` // in the order of the file; in YAML a map from name to options under "agents"
}

// Discovery says how the host answers "who are you?".
type Discovery struct {
	Port                int      `yaml:"port" doc:"UDP port"`
	Interfaces          []string `yaml:"interfaces" doc:"interfaces to answer on; default: every usable one"`
	ReplyTo             []string `yaml:"reply_to" doc:"host names, addresses or CIDRs that may be replied to beside the datagram's own source"`
	Legacy              *bool    `yaml:"legacy" doc:"answer unsigned requests; default: true until authorized_operators exists"`
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
	Listen       string `yaml:"listen" doc:"address of the embedded broker; 0.0.0.0:1883 opens it to the network"`
	URL          string `yaml:"url" doc:"an existing broker to use instead of the embedded one: tcp://host:port"`
	Username     string `yaml:"username" doc:"user name at the broker of url"`
	PasswordFile string `yaml:"password_file" doc:"file with the password at the broker of url"`
}

// Agent is one entry of "agents": the service Name, the kind of agent it runs, and the options of that kind, still undecoded.
type Agent struct {
	Name    string
	Kind    string            // "agent:", or Name where that key is missing
	Points  map[string]Filter // "points:", by path or path pattern (path.Match); what the runner does for each point
	Options Node              // all other keys; decode it into the kind's own options
}

// Filter is what the runner does with the values of a point between the agent and the broker. Nil means the point's own
// default. Order: scale, offset, clamp, digits; then stale, on_change, delta, min_interval, heartbeat.
type Filter struct {
	Poll        *reports.Duration `yaml:"poll" doc:"how often the point is read"`
	Scale       *float64          `yaml:"scale" doc:"multiplies the value"`
	Offset      *float64          `yaml:"offset" doc:"is added to the scaled value"`
	Min         *float64          `yaml:"min" doc:"a lower value becomes this"`
	Max         *float64          `yaml:"max" doc:"a higher value becomes this"`
	Digits      *int              `yaml:"digits" doc:"decimal places"`
	OnChange    *bool             `yaml:"on_change" doc:"publish only a value that differs from the last one published"`
	Delta       *float64          `yaml:"delta" doc:"publish only a change of at least this much"`
	MinInterval *reports.Duration `yaml:"min_interval" doc:"publish at most this often; the last value is never lost"`
	Heartbeat   *reports.Duration `yaml:"heartbeat" doc:"publish at least this often"`
	StaleAfter  *reports.Duration `yaml:"stale_after" doc:"how old a value may get before it counts as stale"`
}

// Load reads and checks the configuration file. Every error is an *Error with file and line. "" means no file: the defaults.
func Load(path string) (Config, error) { panic(stub.TODO) }

// Parse reads and checks a configuration document; name stands for the file in errors.
func Parse(name string, doc []byte) (Config, error) { panic(stub.TODO) }

// Default returns the configuration of an empty file.
func Default() Config { panic(stub.TODO) }

// Error is something wrong in a file, at a line.
type Error struct {
	File string
	Line int // 0: the file as a whole
	Text string
	Err  error
}

// Error returns file:line: text.
func (e *Error) Error() string { panic(stub.TODO) }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.Err }

// Node is a part of a YAML document that remembers its file and lines. The zero Node is an empty document.
type Node struct {
	_ int // the implementation's own
}

// Limits of a document that comes over the network (ParseNode); files have them too.
const (
	MaxBytes = 64 * 1024
	MaxNodes = 10_000
	MaxDepth = 16
)

// ParseNode reads one YAML or JSON document. It refuses aliases and anchors (a billion laughs), duplicate keys, custom tags,
// a second document, and anything beyond the limits.
func ParseNode(name string, doc []byte) (Node, error) { panic(stub.TODO) }

// Decode decodes the node strictly into the struct that v points to: an unknown key is refused with a suggestion, a wrong
// type with what is expected; fields that the document does not name keep the values they have in v. After that it calls
// v's Validate() error, if it has one, and gives the error of At its line.
func (n Node) Decode(v any) error { panic(stub.TODO) }

// Line returns the line of the value at the dotted path ("outputs.pump.pin"), or of the closest parent that is there.
func (n Node) Line(path string) int { panic(stub.TODO) }

// At returns an error about the value at a dotted path, for use in Validate methods: Decode turns it into an *Error with
// the line.
func At(path, format string, args ...any) error { panic(stub.TODO) }

// Marshal returns v as YAML that Decode reads back.
func Marshal(v any) ([]byte, error) { panic(stub.TODO) }

// Save writes a file so that a power cut at any moment leaves the old content or the new: a temporary file in the same
// folder, write, fsync, rename, fsync of the folder. Mode 0600; missing folders are made with 0750.
func Save(path string, data []byte) error { panic(stub.TODO) }

// Key is one line of the configuration reference.
type Key struct {
	Path, Type, Default, Doc string
}

// Keys returns the reference of a struct made from its yaml and doc tags, and its defaults; prefix stands before every path.
func Keys(prefix string, v any) []Key { panic(stub.TODO) }
