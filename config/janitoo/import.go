package janitoo

import (
	"fmt"
	"strings"

	"rollcall/config"
	"rollcall/reports"
)

// Source is a file of Janitoo.
type Source struct {
	Name string // for notes and errors
	Data []byte
}

// Note is a line of a file that was not carried over, or that somebody should look at, and why. It repeats no value: one may be a
// password.
type Note struct {
	File string
	Line int // 0: the file as a whole
	Text string
}

// String returns FILE:LINE: text.
func (n Note) String() string {
	return (&config.Error{File: n.File, Line: n.Line, Text: n.Text}).Error()
}

// Result is what came of the files.
type Result struct {
	YAML     []byte // a configuration of Rollcall
	Notes    []Note // file by file, in the order of their lines
	Password string // of the broker, for the file that Options names; "" none
}

// Options say what the files can't.
type Options struct {
	PasswordFile string // where the password of the broker will be; "": the login stands as a comment, to be completed
}

// Bounds of what files of one host become.
const (
	MaxFiles  = 64
	maxAgents = 200
)

// Import makes one configuration of the files of one host, of which each may have any number of buses. What can't be read as a file of
// Janitoo is an error with file and line, a *config.Error, and so are files in which no bus is. The configuration has been parsed as
// udpmon and agentd parse it.
func Import(sources []Source, o Options) (Result, error) {
	if len(sources) > MaxFiles {
		return Result{}, fmt.Errorf("%d files, at most %d are read", len(sources), MaxFiles)
	}
	im := &importer{Options: o, names: map[string]bool{}, pins: map[string]string{}}
	buses := 0
	for _, s := range sources {
		var notes []Note
		f, err := parse(s.Name, s.Data, &notes)
		if err != nil {
			return Result{}, err
		}
		n := im.carry(f)
		if n == 0 {
			return Result{}, f.errorf(0, "has no section with hadd or components.NAME: this is no file of a Janitoo server")
		}
		buses += n
		im.notes = append(im.notes, sorted(notes)...)
	}
	doc, err := im.write(sources)
	if err != nil {
		return Result{}, err
	}
	if _, err := config.Parse("", doc); err != nil {
		return Result{}, fmt.Errorf("the configuration that was made is refused: %w", err)
	}
	return Result{YAML: doc, Notes: im.notes, Password: im.broker.password}, nil
}

// importer is a configuration in the making.
type importer struct {
	Options
	host        string
	broker      broker
	agents      []*agent
	controllers []*controller
	names       map[string]bool   // of agents
	pins        map[string]string // which section has a line of the header
	notes       []Note
	primary     bool
	home        string // home_id
}

// broker is the broker of the files.
type broker struct{ url, user, password string }

// agent is an entry of "agents".
type agent struct {
	name, kind string
	from       []string       // sections
	bus        *section       // whose components it is
	options    map[string]any // as they stand in YAML
	polls      map[string]reports.Duration
}

// controller is a bus: a controller and its nodes.
type controller struct {
	node
	section *section
	nodes   []node
}

// node is what the files say of a node of Janitoo's network.
type node struct {
	key            string // ends its uuid; of a controller its uuid
	kind           string // its oid; "" a controller
	hadd           string
	name, location string
	heartbeat      reports.Duration // 0: the file says nothing
	timeout        reports.Duration // the same
	service        string           // of ours, "" none
	of             string           // what of the service it is
	polls          map[string]reports.Duration
	values         map[string]string
}

// add returns the entry that components of the kind share in a bus, or one of the name; nil if there are too many.
func (im *importer) add(name, kind string, bus, s *section) *agent {
	for _, a := range im.agents {
		if shared := kind == "hostsensor" || kind == "gpio"; shared && a.bus == bus && a.kind == kind {
			a.from = append(a.from, s.name)
			return a
		}
	}
	if len(im.agents) == maxAgents {
		s.file.note(s.line, "[%s]: there are %d agents already; it was left out", shown(s.name), maxAgents)
		return nil
	}
	name = unique(name, has(im.names))
	im.names[name] = true
	a := &agent{name: name, kind: kind, bus: bus, from: []string{s.name}, options: map[string]any{}, polls: map[string]reports.Duration{}}
	im.agents = append(im.agents, a)
	return a
}

// carry takes one file apart and returns how many buses it has.
func (im *importer) carry(f *file) int {
	im.system(f)
	im.network(f)
	isBus := map[string]bool{}
	for _, s := range f.sections {
		if s.isBus() {
			isBus[s.name] = true
			im.bus(f, s)
		}
	}
	for _, s := range f.sections {
		bus, _, ok := strings.Cut(s.name, "__")
		switch {
		case isBus[s.name] || s.name == "system" || s.name == "network" || s.name == defaultSection:
		case ok && isBus[bus]: // bus has seen to those that are components
			if s.find("hadd") == nil || !s.listed(f) {
				f.note(s.line, "[%s]: [%s] has no such component; Janitoo leaves it out too", shown(s.name), shown(bus))
			}
		default:
			f.note(s.line, "[%s]: %s", shown(s.name), sectionReason(s.name))
		}
	}
	if d := f.section(defaultSection); d != nil {
		d.rest("no section that was carried over has such a key")
	}
	return len(isBus)
}

// listed reports whether the section is of a component that its bus names.
func (s *section) listed(f *file) bool {
	bus, component, _ := strings.Cut(s.name, "__")
	b := f.section(bus)
	return b != nil && b.find(componentPrefix+strings.ToLower(component)) != nil
}

// sectionReason says why a section that is of no bus is left out.
func sectionReason(name string) string {
	for _, prefix := range []string{"logger", "handler", "formatter"} {
		if strings.HasPrefix(name, prefix) {
			return "the log of Python; services log to the journal, and with `log: info` beside the options of an agent over MQTT"
		}
	}
	if name == "database" || name == "alembic" {
		return "a database of Janitoo; there is none to be set up"
	}
	return "nothing of Rollcall's reads it"
}
