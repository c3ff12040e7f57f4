package main

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// spyUDP prints what passes of discovery on the networks of this machine.
func (s *spying) spyUDP(ctx context.Context, a *app) error {
	who, err := a.who()
	if err != nil {
		return err
	}
	if err := s.check(); err != nil {
		return err
	}
	ear, err := discover.NewEar(ctx, s.interfaces, uint16(s.port))
	if err != nil {
		return err
	}
	if ear.Limits != "" {
		a.warnf("%s", ear.Limits)
	}
	spy := discover.NewSpy(who.key)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failed error
	n := 0
	err = ear.Run(ctx, func(f discover.Frame) {
		if failed != nil || (s.count > 0 && n == s.count) {
			return
		}
		seen := who.named(spy.Read(f))
		if s.asked() {
			failed = s.next(a.out, sightingObject(f, seen))
		} else {
			_, failed = io.WriteString(a.out, clean(sightingLine(f, seen))+"\n")
		}
		if n++; failed != nil || n == s.count {
			cancel()
		}
	})
	if failed != nil {
		return failed
	}
	return err
}

// named adds the name under which a host is known.
func (i *identity) named(s discover.Sighting) discover.Sighting {
	for _, d := range s.Details {
		text, _ := d.Value.(string)
		id, ok := parseID(text)
		if d.Name != "host" || !ok {
			continue
		}
		if h, ok := i.known.Find("", trust.HostID(id)); ok {
			s.Details = append(s.Details, discover.Detail{Name: "known_as", Value: h.Name})
		}
		break
	}
	return s
}

// sightingObject is a datagram as --json prints it.
func sightingObject(f discover.Frame, s discover.Sighting) map[string]any {
	o := detailsObject(s.Details)
	o["time"], o["form"], o["bytes"], o["from"] = f.At.UTC().Format(time.RFC3339Nano), s.Form, len(f.Data), f.From.String()
	if f.Interface != "" {
		o["interface"] = f.Interface
	}
	if f.To.Addr().IsValid() {
		o["to"] = f.To.String()
	}
	return o
}

func detailsObject(list []discover.Detail) map[string]any {
	o := map[string]any{}
	for _, d := range list {
		if inner, ok := d.Value.([][]discover.Detail); ok {
			var all []map[string]any
			for _, one := range inner {
				all = append(all, detailsObject(one))
			}
			o[d.Name] = all
			continue
		}
		o[d.Name] = d.Value
	}
	return o
}

// sightingLine is a datagram in one line.
func sightingLine(f discover.Frame, s discover.Sighting) string {
	var b strings.Builder
	b.WriteString(f.At.Format("15:04:05.000000") + " ")
	if f.Interface != "" {
		b.WriteString(f.Interface + " ")
	}
	b.WriteString(f.From.String() + " > " + whereTo(f.To) + " " + s.Form + fmt.Sprintf(" bytes=%d", len(f.Data)))
	writeDetails(&b, s.Details)
	return b.String()
}

// whereTo names a destination, of which only the port may be known.
func whereTo(to netip.AddrPort) string {
	if !to.Addr().IsValid() {
		return fmt.Sprintf("port %d", to.Port())
	}
	return to.String()
}

func writeDetails(b *strings.Builder, list []discover.Detail) {
	for _, d := range list {
		switch v := d.Value.(type) {
		case [][]discover.Detail:
			fmt.Fprintf(b, " %s=%d", d.Name, len(v))
			for _, inner := range v {
				b.WriteString(" {")
				var one strings.Builder
				writeDetails(&one, inner)
				b.WriteString(strings.TrimPrefix(one.String(), " ") + "}")
			}
		case []string:
			fmt.Fprintf(b, " %s=%q", d.Name, strings.Join(v, ","))
		case string:
			if plainWord(v) {
				fmt.Fprintf(b, " %s=%s", d.Name, v)
			} else {
				fmt.Fprintf(b, " %s=%q", d.Name, v)
			}
		case bool:
			b.WriteString(" " + d.Name)
		default:
			fmt.Fprintf(b, " %s=%v", d.Name, v)
		}
	}
}

// plainWord reports whether a text needs no quotes in a line of words.
func plainWord(s string) bool { return s != "" && !strings.ContainsAny(s, " \t\r\n\"\\={}") }
