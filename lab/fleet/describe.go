package fleet

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rollcall/agents"
	"rollcall/config"
	"rollcall/internal/discover"
	"rollcall/reports"
)

// descriptions returns what udpmon makes of the descriptions of a host's usual services, with the options of their pages: hostsensor,
// and gpio on the in-memory chip.
func descriptions() ([]discover.Service, error) {
	var out []discover.Service
	for _, f := range agents.All() {
		if f.Name != "hostsensor" && f.Name != "gpio" {
			continue
		}
		o := f.Defaults()
		n, err := config.ParseNode(f.Name, []byte(f.Example))
		if err == nil {
			err = n.Decode(o)
		}
		if err != nil {
			return nil, fmt.Errorf("options of %s: %w", f.Name, err)
		}
		a, err := f.New(o, agents.Deps{Service: f.Name})
		if err != nil {
			return nil, fmt.Errorf("make %s to describe it: %w", f.Name, err)
		}
		d := a.Describe()
		text, err := json.Marshal(d)
		if err := errors.Join(err, a.Close()); err != nil {
			return nil, err
		}
		s := discover.Service{Name: f.Name, Function: d.Function, Status: reports.Online, Points: len(d.Points)}
		sum := sha256.Sum256(text)
		copy(s.Digest[:], sum[:])
		var classes []string
		for _, p := range d.Points {
			if p.Class != "" && !slices.Contains(classes, p.Class) {
				classes = append(classes, p.Class)
			}
		}
		s.Classes = strings.Join(classes, " ")
		out = append(out, s)
	}
	return out, nil
}

// host returns what virtual host i says of itself. Where it has more services than there are descriptions, they come again under
// other names.
func host(i int, c Config, known []discover.Service, addr netip.Addr) discover.Host {
	h := discover.Host{Hostname: fmt.Sprintf("virtual%05d", i), Model: "Raspberry Pi Zero 2 W Rev 1.0", OS: "Linux 6.12.47+rpt-rpi-v8",
		Arch: "arm64", Version: "1.0.0", BootID: "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", Started: time.Now(), Open: c.Operator == nil,
		Brokers: []string{"tcp://127.0.0.1:1883"}, MAC: []byte{0xdc, 0xa6, 0x32, 0, byte(i >> 8), byte(i)}}
	binary.BigEndian.PutUint64(h.ID[:], 0xf1ee7<<32+uint64(i))
	if addr.IsValid() {
		h.Addrs = []netip.Addr{addr}
	}
	for s := range c.Services {
		d := known[s%len(known)]
		if s >= len(known) {
			d.Name = fmt.Sprintf("%s%d", d.Name, s)
		}
		h.Services = append(h.Services, d)
	}
	return h
}
