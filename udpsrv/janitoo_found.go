package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"rollcall/internal/bus"
	"rollcall/reports/janitoo/wire"
)

// Bounds of what is believed of one broker.
const (
	maxJanitooReplies = 60_000 // ten thousand controllers, six answers each
	maxJanitooBytes   = 64 << 20
)

// janitooFound is what controllers have answered so far. receive may run beside all else.
type janitooFound struct {
	asked   []string
	known   map[wire.Hadd]bool // controllers that are expected; not changed once messages come
	changed chan struct{}      // size 1: an answer came
	raw     func(bus.Message)  // prints messages as they come; nil: nobody

	mu       sync.Mutex
	answered map[wire.Hadd]bool            // controllers, to any request
	replied  map[string]map[wire.Hadd]bool // by request
	empty    map[string]int                // answers that do not say whose they are, since nothing is in them
	nodes    map[wire.Hadd]wire.Node
	values   map[string]map[valueKey]wire.Value // by request
	replies  int
	bytes    int
	refused  int // that could not be read
	excess   int // beyond the bounds
}

// valueKey tells instances of values apart.
type valueKey struct {
	hadd  wire.Hadd
	uuid  string
	index int
}

func newJanitooFound(asked []string) *janitooFound {
	return &janitooFound{asked: asked, known: map[wire.Hadd]bool{}, changed: make(chan struct{}, 1), answered: map[wire.Hadd]bool{},
		replied: map[string]map[wire.Hadd]bool{}, empty: map[string]int{}, nodes: map[wire.Hadd]wire.Node{}, values: map[string]map[valueKey]wire.Value{}}
}

// receive takes in a message. What is no discovery reply, or answers what was not asked, is none of ours.
func (f *janitooFound) receive(m bus.Message) {
	r, err := wire.ParseReply(m.Payload)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.refused++
		return
	case !slices.Contains(f.asked, r.UUID):
		return
	case f.replies >= maxJanitooReplies || f.bytes+len(m.Payload) > maxJanitooBytes:
		f.excess++
		return
	}
	f.replies++
	f.bytes += len(m.Payload)
	if f.raw != nil {
		f.raw(m)
	}
	f.take(r)
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

// take adds a reply. The mutex is held.
func (f *janitooFound) take(r wire.Reply) {
	if f.replied[r.UUID] == nil {
		f.replied[r.UUID], f.values[r.UUID] = map[wire.Hadd]bool{}, map[valueKey]wire.Value{}
	}
	if len(r.Nodes)+len(r.Values) == 0 {
		f.empty[r.UUID]++
	}
	from := func(h wire.Hadd) {
		f.answered[h.Controller()], f.replied[r.UUID][h.Controller()] = true, true
	}
	for _, n := range r.Nodes {
		from(n.Hadd)
		f.nodes[n.Hadd] = n
	}
	for _, v := range r.Values {
		from(v.Hadd)
		f.values[r.UUID][valueKey{v.Hadd, v.UUID, v.Index}] = v
	}
}

// has reports whether all requests have at least so many answers.
func (f *janitooFound) has(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, info := range f.asked {
		if len(f.replied[info])+f.empty[info] < n {
			return false
		}
	}
	return true
}

// complete reports whether all controllers that are known, before or by now, have answered all requests.
func (f *janitooFound) complete() bool {
	f.mu.Lock()
	all := maps.Clone(f.known)
	maps.Copy(all, f.answered)
	f.mu.Unlock()
	return len(f.missing()) == 0 && f.has(len(all))
}

// missing returns the controllers that were expected and have answered nothing.
func (f *janitooFound) missing() (out []wire.Hadd) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range slices.Sorted(maps.Keys(f.known)) {
		if !f.answered[h] {
			out = append(out, h)
		}
	}
	return out
}

// foundNodes returns the nodes of a command class, or all with -1, by address.
func (f *janitooFound) foundNodes(class int) []wire.Node {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []wire.Node{}
	for _, h := range slices.Sorted(maps.Keys(f.nodes)) {
		if n := f.nodes[h]; class < 0 || slices.Contains(n.CmdClasses, class) {
			out = append(out, n)
		}
	}
	return out
}

// foundValues returns the values that came to a request, by address, uuid and index: those of a command class, or all with -1.
func (f *janitooFound) foundValues(info string, class int) []wire.Value {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []wire.Value{}
	for _, v := range f.values[info] {
		if class < 0 || v.CmdClass == class {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b wire.Value) int {
		if c := strings.Compare(string(a.Hadd), string(b.Hadd)); c != 0 {
			return c
		}
		if c := strings.Compare(a.UUID, b.UUID); c != 0 {
			return c
		}
		return a.Index - b.Index
	})
	return out
}

// janitooDocument is what network --json and node --json print.
type janitooDocument struct {
	ElapsedMS   int64                   `json:"elapsed_ms"`
	Controllers []wire.Hadd             `json:"controllers"`
	Missing     []wire.Hadd             `json:"missing,omitempty"` // controllers that answered the last time
	Nodes       []wire.Node             `json:"nodes,omitempty"`
	Values      map[string][]wire.Value `json:"values,omitempty"` // by request
}

// print prints what was found, and to stderr how it went.
func (d *janitooDiscovery) print(a *app, f *janitooFound, infos []string, took time.Duration) error {
	f.mu.Lock()
	controllers := slices.Sorted(maps.Keys(f.answered))
	refused, excess, what := f.refused, f.excess, plural(len(f.nodes), "node")
	if !slices.Contains(f.asked, wire.InfoNodes) {
		n := 0
		for _, values := range f.values {
			n += len(values)
		}
		what = plural(n, "value")
	}
	f.mu.Unlock()
	var err error
	switch {
	case d.format.asked():
		doc := janitooDocument{ElapsedMS: took.Milliseconds(), Controllers: append([]wire.Hadd{}, controllers...), Missing: f.missing(), Values: map[string][]wire.Value{}}
		for _, info := range infos {
			if info == wire.InfoNodes {
				doc.Nodes = f.foundNodes(d.number)
			} else {
				doc.Values[info] = f.foundValues(info, d.number)
			}
		}
		err = d.format.print(a.out, doc)
	case d.output == outputTxt && len(controllers) > 0:
		err = d.tables(a, f, infos)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(a.err, "%s, %s in %s\n", plural(len(controllers), "controller"), what, took.Round(time.Millisecond))
	for _, h := range f.missing() {
		a.warnf("%s, which answered the last time, is missing", h)
	}
	if refused+excess > 0 {
		a.warnf("%s not understood or too large, and left out", plural(refused+excess, "answer"))
	}
	return nil
}

// tables prints a table for each request, with a title where there are several.
func (d *janitooDiscovery) tables(a *app, f *janitooFound, infos []string) error {
	for i, info := range infos {
		if len(infos) > 1 {
			if i > 0 {
				fmt.Fprintln(a.out)
			}
			fmt.Fprintf(a.out, "%s\n----------\n", info)
		}
		var t *table
		if info == wire.InfoNodes {
			t = nodeTable(a, d.nodeUUID, d.location)
			for _, n := range f.foundNodes(d.number) {
				t.add(string(n.Hadd), n.UUID, orNone(n.Name), orNone(n.Location), n.ProductName, n.ProductType)
			}
		} else {
			t = valueTable(a, d.uuid, true)
			for _, v := range f.foundValues(info, d.number) {
				addValue(t, v, true)
			}
		}
		if !t.headed {
			t.print() // the head alone
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	return nil
}
