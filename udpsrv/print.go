package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"

	"rollcall/internal/discover"
	"rollcall/reports"
)

// found prints a row for each service, as they become known.
type found struct {
	t     *table
	marks bool // a column of +, ~ and - stands first
}

const shortID = 8 // hex digits of an id that are printed

// newFound returns the table of what a sweep finds. The columns are wide enough for most names, because the widest is not known
// while rows still come in.
func newFound(w io.Writer, marks bool) *found {
	cols := []column{
		{head: "HOST", least: 16, most: 32, gap: 1},
		{head: "ADDRESS", least: 15, most: 39, gap: 1, whole: true},
		{head: "SERVICE", least: 14, most: 24, gap: 1},
		{head: "FUNCTION", least: 12, most: 20, gap: 1, spare: true},
		{head: "STATUS", least: 7, gap: 1, whole: true, style: statusStyle},
		{head: "POINTS", least: 6, gap: 1, right: true, whole: true},
		{head: "ID", least: 19, style: warningStyle("simulated")}, // with that word
	}
	if marks {
		cols = append([]column{{head: " ", least: 1, whole: true, style: markStyle}}, cols...)
	}
	return &found{newLiveTable(w, cols...), marks}
}

// markStyle is the style of what has become of a service.
func markStyle(mark string) style { return map[string]style{"+": green, "-": red, "~": yellow}[mark] }

// rows prints a row for each service of n; a host that came without any has one row all the same.
func (t *found) rows(mark string, n news) {
	if len(n.services) == 0 {
		t.row(mark, n.host, reports.FoundService{})
	}
	for _, f := range n.services {
		t.row(mark, n.host, f)
	}
}

func (t *found) row(mark string, h *host, f reports.FoundService) {
	id, points := h.ID[:min(shortID, len(h.ID))], ""
	if f.Status != reports.Unknown || f.Points > 0 {
		points = strconv.Itoa(f.Points)
	}
	if f.Simulated {
		id = cmp.Or(id, "-") + "  simulated"
	}
	cells := []string{h.Hostname, h.IPAddr, f.Name, f.Function, string(f.Status), points, id}
	if t.marks {
		cells = append([]string{mark}, cells...)
	}
	t.t.add(cells...)
}

// document is what sweep --json prints.
type document struct {
	ID        uint64          `json:"id"`
	ElapsedMS int64           `json:"elapsed_ms"`
	Complete  bool            `json:"complete"`          // nobody who is there is unheard, but for PMiss
	PMiss     float64         `json:"p_miss"`            // bound of the number of hosts that are unheard
	Missing   []string        `json:"missing,omitempty"` // known hosts that did not answer
	Relays    []relay         `json:"relays,omitempty"`  // that asked networks behind routers
	Hosts     []reports.Found `json:"hosts"`
}

// relay is what sweep --json prints of a host that asked for us.
type relay struct {
	ID       string   `json:"id"`
	Hostname string   `json:"hostname"`
	IPAddr   string   `json:"ipaddr"`
	Networks []string `json:"networks"`
	Known    bool     `json:"known"` // its key is
	RTT      float64  `json:"rtt_ms"`
}

func (rd *round) document() document {
	d := document{ID: rd.id, ElapsedMS: rd.elapsed.Milliseconds(), Hosts: []reports.Found{},
		Complete: rd.stats.Complete, PMiss: rd.stats.PMiss, Missing: rd.missing}
	for _, r := range rd.stats.Relays {
		d.Relays = append(d.Relays, relay{r.Host.String(), r.Hostname, r.At.Addr().String(), networksOf(r), r.Known,
			float64(r.RTT.Microseconds()) / 1000})
	}
	for _, h := range rd.sorted() {
		d.Hosts = append(d.Hosts, h.public())
	}
	return d
}

// public returns what the JSON of sweep has of the host.
func (h *host) public() reports.Found {
	f := h.Found
	f.Brokers = nil
	return f
}

// printJSON prints v as one line of JSON that is safe on a terminal.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(reports.CleanJSON(b.Bytes()))
	return err
}

// summary prints how a sweep went, and what a person should know of the hosts, to stderr.
func (a *app) summary(rd *round) {
	for _, w := range rd.stats.Warnings {
		a.warnf("%s", w)
	}
	fmt.Fprintf(a.err, "%s, %s in %s (%d datagrams sent, %d received)\n", plural(len(rd.hosts), "host"),
		plural(rd.services(), "service"), rd.took(), rd.stats.Sent, rd.stats.Received)
	for _, r := range rd.stats.Relays {
		fmt.Fprintln(a.err, clean(through(r)))
	}
	fmt.Fprintln(a.err, clean(rd.verdict()))
	if a.verbose {
		fmt.Fprintf(a.err, "%d rounds, lost an estimated %.0f %% of requests and %.0f %% of answers; %s by ARP where this machine is\n", rd.stats.Rounds,
			100*rd.stats.RequestLoss, 100*rd.stats.ReplyLoss, plural(rd.stats.Resolved, "host")+" asked")
	}
	if len(rd.missing) > 0 {
		a.warnf("missing, known from the last sweep: %s", listed(rd.missing))
	}
	if n := rd.stats.Wrong + rd.wrong + rd.refused; n > 0 {
		a.warnf("%s not understood and left out", plural(n, "answer"))
	}
	a.crowds(rd)
	if rd.dropped > 0 {
		a.warnf("%s came too fast and lost", plural(rd.dropped, "answer"))
	}
	a.notes(rd.roll)
}

// through says which host has asked a network for us.
func through(r discover.Relay) string {
	text := fmt.Sprintf("through %s at %s: %s", r.Hostname, r.At.Addr(), strings.Join(networksOf(r), ", "))
	if !r.Known {
		text += " (its key is not known, so that its network needed ARP; accept it with udpsrv trust)"
	}
	return text
}

// networksOf returns the networks that a relay has asked.
func networksOf(r discover.Relay) (out []string) {
	for _, p := range r.Networks {
		out = append(out, p.Masked().String())
	}
	return out
}

// verdict says whether all who are there were heard.
func (rd *round) verdict() string {
	switch {
	case rd.stats.Complete:
		return "complete, P(miss) < 1e-4"
	case rd.stats.Why != "":
		return "incomplete: " + rd.stats.Why
	}
	return "incomplete: answers by MQTT can't be counted"
}

// crowds says from where more hosts answered than are believed.
func (a *app) crowds(rd *round) {
	for _, ip := range rd.crowds() {
		a.warnf("%s", rd.crowd(ip))
	}
}

// crowd says that more hosts answered from one address than are believed.
func (rd *round) crowd(ip netip.Addr) string {
	return fmt.Sprintf("%s answered as more than %d hosts; %s left out", ip, maxAtAddress, plural(rd.at[ip]-maxAtAddress, "answer"))
}

// notes says in plain words what is unusual about hosts.
func (a *app) notes(r *roll) {
	var open, loopback, strangers []string
	named := map[string][]*host{}
	for _, h := range r.sorted() {
		named[h.Hostname] = append(named[h.Hostname], h)
		if h.open {
			open = append(open, h.Hostname)
		}
		if h.stranger {
			strangers = append(strangers, h.Hostname)
		}
		if h.loopbackOnly {
			loopback = append(loopback, h.Hostname)
		}
	}
	for _, name := range r.twins() {
		a.warnf("%d hosts are named %s: %s", len(named[name]), name, hostList(named[name]))
	}
	if len(open) > 0 {
		fmt.Fprintf(a.err, "open, answering anyone (no authorized_operators file): %s\n", clean(listed(open)))
	}
	if len(strangers) > 0 {
		fmt.Fprintf(a.err, "key not known yet, accept it with udpsrv trust HOST: %s\n", clean(listed(strangers)))
	}
	if len(loopback) > 0 {
		fmt.Fprintf(a.err, "broker on loopback only, out of reach from here: %s\n", clean(listed(loopback)))
	}
}

// hostList names hosts by what tells them apart.
func hostList(hosts []*host) string {
	var names []string
	for _, h := range hosts {
		names = append(names, cmp.Or(h.ID, "no id")+" at "+h.IPAddr)
	}
	return listed(names)
}
