package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rollcall/internal/discover"
	"rollcall/reports"
)

// Bounds of the cache.
const (
	maxCacheBytes = 16 << 20
	maxScopes     = 8                   // networks whose last sweep is remembered
	forgetAfter   = 30 * 24 * time.Hour // hosts not seen for so long
	cacheVersion  = 1
)

// cache is what udpsrv remembers of hosts between its runs: where their brokers are, and names for completion. It is only ever
// a hint: what it says is checked before it is used.
type cache struct {
	Version int                  `json:"version"`
	Hosts   []entry              `json:"hosts"`
	Last    map[string]lastSweep `json:"last"` // by scope

	path string
}

// entry is a host in the cache.
type entry struct {
	ID           string          `json:"id"`
	Hostname     string          `json:"hostname"`
	IPAddr       string          `json:"ipaddr"`
	Probe        string          `json:"probe,omitempty"`  // address:port that it answers at
	Prefix       int             `json:"prefix,omitempty"` // length, of the network that it answered in
	MAC          string          `json:"mac,omitempty"`    // there
	Brokers      []string        `json:"brokers,omitempty"`
	LoopbackOnly bool            `json:"loopback_only,omitempty"`
	Sealed       bool            `json:"sealed,omitempty"` // it has a key
	Services     []cachedService `json:"services"`
	Seen         time.Time       `json:"seen"`
}

// cachedService is a service of an entry. Its points are known once it has been spoken to.
type cachedService struct {
	Name   string        `json:"name"`
	Points []cachedPoint `json:"points,omitempty"`
}

// cachedPoint is a point of a cachedService.
type cachedPoint struct {
	Path   string   `json:"path"`
	Set    bool     `json:"set,omitempty"`
	Class  string   `json:"class,omitempty"`
	Values []string `json:"values,omitempty"` // that it can be set to, where they can be listed
}

// lastSweep is which hosts answered the last sweep of one network.
type lastSweep struct {
	IDs []string  `json:"ids"`
	At  time.Time `json:"at"`
}

// openCache reads the cache. A file that can't be read is as good as none; a person is told of it.
func (a *app) openCache() *cache {
	c := &cache{Version: cacheVersion, Last: map[string]lastSweep{}, path: a.cache}
	if c.path == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			a.log().Debug("no cache", "err", err)
			return c
		}
		c.path = filepath.Join(dir, "rollcall", "hosts.json")
	}
	read := cache{}
	err := readJSON(c.path, maxCacheBytes, &read)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c
	case err == nil && read.Version != cacheVersion:
		err = fmt.Errorf("version %d, not %d", read.Version, cacheVersion)
	}
	if err != nil {
		a.warnf("cache %s is ignored: %v", c.path, err)
		return c
	}
	c.Hosts = slices.DeleteFunc(read.Hosts, func(e entry) bool {
		return reports.ValidName(e.Hostname) != nil || !legalAddr(e.IPAddr)
	})
	if read.Last != nil {
		c.Last = read.Last
	}
	return c
}

// readJSON decodes a file of at most most bytes.
func readJSON(path string, most int64, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return err
	}
	if int64(len(b)) > most {
		return fmt.Errorf("it has more than %d bytes", most)
	}
	return json.Unmarshal(b, v)
}

// save writes the cache, the old or the new whole. That it can't be written is worth a warning and no more.
func (a *app) save(c *cache) {
	if c.path == "" {
		return
	}
	if err := c.write(); err != nil {
		a.warnf("cache %s is not saved: %v", c.path, err)
	}
}

func (c *cache) write() error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	dir := filepath.Dir(c.path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".hosts-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// learn takes in who answered a sweep. The scope is the network that was swept, "" for a sweep that says nothing of who is
// missing.
func (c *cache) learn(rd *round, scope string) {
	now := time.Now()
	last := lastSweep{IDs: []string{}, At: now}
	for _, h := range rd.sorted() {
		if h.ID == "" {
			continue // the original form does not say where the host's broker is
		}
		last.IDs = append(last.IDs, h.ID)
		c.put(h, now)
	}
	c.Hosts = slices.DeleteFunc(c.Hosts, func(e entry) bool { return now.Sub(e.Seen) > forgetAfter })
	if len(c.Hosts) > maxHosts {
		slices.SortStableFunc(c.Hosts, func(a, b entry) int { return b.Seen.Compare(a.Seen) })
		c.Hosts = c.Hosts[:maxHosts]
	}
	slices.SortStableFunc(c.Hosts, func(a, b entry) int {
		return cmp.Or(strings.Compare(a.Hostname, b.Hostname), strings.Compare(a.ID, b.ID))
	})
	if scope == "" || !rd.whole {
		return
	}
	c.remember(scope, last)
}

// remember keeps who answered last in a scope, and forgets the scope that was longest unused where there are too many.
func (c *cache) remember(scope string, last lastSweep) {
	c.Last[scope] = last
	for len(c.Last) > maxScopes {
		oldest := scope
		for s, l := range c.Last {
			if l.At.Before(c.Last[oldest].At) {
				oldest = s
			}
		}
		delete(c.Last, oldest)
	}
}

// entryOf returns a host that was found as an entry without services.
func entryOf(h *host, now time.Time) entry {
	return entry{ID: h.ID, Hostname: h.Hostname, IPAddr: h.IPAddr, Probe: h.from.String(), Prefix: h.prefix, MAC: h.mac, Brokers: h.Brokers,
		LoopbackOnly: h.loopbackOnly, Sealed: h.key != nil, Services: []cachedService{}, Seen: now}
}

// put adds or replaces the entry of a host; what is known of its services' points stays. A host with a new id in the place of
// another, such as one whose card was written anew, replaces it.
func (c *cache) put(h *host, now time.Time) {
	e := entryOf(h, now)
	old := entry{}
	c.Hosts = slices.DeleteFunc(c.Hosts, func(o entry) bool {
		if o.Hostname != e.Hostname || (o.ID != e.ID && o.Probe != e.Probe) {
			return false
		}
		if o.ID == e.ID {
			old = o
		}
		return true
	})
	for _, f := range h.Services {
		s := cachedService{Name: f.Name}
		if i := slices.IndexFunc(old.Services, func(o cachedService) bool { return o.Name == f.Name }); i >= 0 {
			s.Points = old.Services[i].Points
		}
		e.Services = append(e.Services, s)
	}
	c.Hosts = append(c.Hosts, e)
}

// describe remembers the points of a host's services.
func (c *cache) describe(id, hostname string, services []reports.Service) {
	i := slices.IndexFunc(c.Hosts, func(e entry) bool { return e.ID == id && e.Hostname == hostname })
	if i < 0 {
		return
	}
	e := &c.Hosts[i]
	for _, d := range services {
		s := cachedService{Name: d.Name}
		for _, p := range d.Points {
			s.Points = append(s.Points, cachedPoint{p.Path, p.Access.Has(reports.Set), p.Class, valuesOf(p)})
		}
		e.Services = slices.DeleteFunc(e.Services, func(o cachedService) bool { return o.Name == d.Name })
		e.Services = append(e.Services, s)
	}
	slices.SortFunc(e.Services, func(a, b cachedService) int { return strings.Compare(a.Name, b.Name) })
}

// expect returns the hosts that answered the last sweep of this scope. One that has vanished is missing from the next list,
// so that it is asked for, and told of as missing, once.
func (c *cache) expect(scope string) (out []discover.Known) {
	at := map[string]string{}
	for _, e := range c.Hosts {
		at[e.ID] = e.Probe
	}
	for _, id := range c.Last[scope].IDs {
		out = append(out, expected(id, at[id])...)
	}
	return out
}

// relays returns the hosts in these networks that may ask the others there for us: those that have a key.
func (c *cache) relays(nets []netip.Prefix) (out []discover.Known) {
	for _, e := range c.Hosts {
		at, err := netip.ParseAddrPort(e.Probe)
		if err != nil || !e.Sealed || !slices.ContainsFunc(nets, func(p netip.Prefix) bool { return p.Contains(at.Addr()) }) {
			continue
		}
		for _, k := range expected(e.ID, e.Probe) {
			if mac, err := net.ParseMAC(e.MAC); err == nil && len(mac) == len(k.MAC) {
				k.Bits, k.MAC = e.Prefix, [6]byte(mac)
			}
			out = append(out, k)
		}
	}
	return out
}

// nameOf returns what a person calls the host of an id.
func (c *cache) nameOf(id discover.ID) string {
	for _, e := range c.Hosts {
		if e.ID == id.String() {
			return e.Hostname
		}
	}
	return id.String()
}

// scope names the network that a sweep asks: the nets that this machine is in, and the options. It is "" for a sweep in the
// original form only, which no known host answers by UDP.
func (q *asking) scope() string {
	if q.via == viaMQTT {
		return ""
	}
	var nets []string
	addrs, err := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, perr := netip.ParsePrefix(a.String()); perr == nil && !p.Addr().IsLoopback() {
			nets = append(nets, p.Masked().String())
		}
	}
	slices.Sort(nets)
	sum := sha256.Sum256(fmt.Append(nil, nets, err, q.to, q.interfaces, q.port, q.want, q.subnets))
	return hex.EncodeToString(sum[:8])
}

// parseID reads the 16 hex digits of a host's id.
func parseID(s string) (id discover.ID, ok bool) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, false
	}
	return discover.ID(b), true
}

// minIDPrefix is how many hex digits of an id name a host at least.
const minIDPrefix = 4

// matching returns the entries that name means: those of that hostname, or else of that address, or else whose id begins so.
func matching(entries []entry, name string) (out []entry) {
	lower := strings.ToLower(name)
	prefix := len(name) >= minIDPrefix && strings.Trim(lower, "0123456789abcdef") == ""
	for _, is := range []func(entry) bool{
		func(e entry) bool { return e.Hostname == name },
		func(e entry) bool { return e.IPAddr == name },
		func(e entry) bool { return prefix && strings.HasPrefix(e.ID, lower) },
	} {
		for _, e := range entries {
			if is(e) {
				out = append(out, e)
			}
		}
		if out != nil {
			return out
		}
	}
	return nil
}
