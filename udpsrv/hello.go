package main

import (
	"context"
	"encoding/hex"
	"net"
	"net/netip"
	"sync"
	"time"

	"rollcall/internal/discover"
)

// Bounds of what hellos may cause.
const (
	helloLeast = time.Second      // between two sweeps, however many hosts say hello
	helloSkew  = 30 * time.Second // that the time of a BYE may differ from ours: else it may be an old one, sent again
)

// hello is what a host said unasked, and where it came from.
type hello struct {
	discover.Hello
	from netip.AddrPort
}

func (h hello) id() string { return hex.EncodeToString(h.Host[:]) }

// hear takes in what comes on conn; hellos that nobody takes are forgotten, for the next sweep shows as much. stop closes conn.
func hear(conn *net.UDPConn) (hellos <-chan hello, stop func()) {
	out := make(chan hello, 64)
	var wg sync.WaitGroup
	wg.Go(func() {
		discover.Hellos(conn, func(h discover.Hello, from netip.AddrPort) {
			select {
			case out <- hello{h, from}:
			default:
			}
		})
	})
	return out, func() {
		_ = conn.Close() // nothing was to be kept
		wg.Wait()
	}
}

// listenHello hears the hellos of all hosts. Where that can't be, the sweeps show what changes a little later.
func (s *sweeping) listenHello(ctx context.Context, a *app) (hellos <-chan hello, stop func()) {
	listen := s.hellos
	if listen == nil {
		listen = discover.ListenHello
	}
	conn, err := listen(ctx)
	if err != nil {
		a.warnf("who comes and goes is seen by the next sweep only: %s", clean(err.Error()))
		return nil, func() {}
	}
	return hear(conn)
}

// rest waits until the next sweep is due: soon, if a host says HELLO. It calls bye for each host that goes.
func (s *sweeping) rest(ctx context.Context, hellos <-chan hello, bye func(hello) error) error {
	soon := time.Now().Add(min(helloLeast, s.every))
	due := time.NewTimer(jitter(s.every))
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-due.C:
			return nil
		case h := <-hellos:
			if !h.Bye {
				due.Reset(time.Until(soon))
			} else if err := bye(h); err != nil {
				return err
			}
		}
	}
}

// bye takes the host that says so off the list. A host that has a key must have signed it; from one that has none it must come
// from the host's address.
func (w *watcher) bye(h hello, now time.Time) (events []event) {
	if skew := now.Sub(h.Time); skew > helloSkew || skew < -helloSkew {
		return nil
	}
	for i, old := range w.hosts {
		if old.ID != h.id() {
			continue
		}
		if old.key != nil && !old.key.Equal(h.Key) || old.key == nil && old.from.Addr() != h.from.Addr() {
			return nil
		}
		w.hosts = append(w.hosts[:i:i], w.hosts[i+1:]...)
		return []event{eventOf("loss", old.host, marked("-", old.Services))}
	}
	return nil
}

// restarted reports whether the host's monitor has started since the host was heard last.
func (o *watched) restarted(h *host) bool {
	const inexact = 5 * time.Second // hosts say their age in seconds, and the answer took its time
	return o.boot != "" && h.boot != "" && o.boot != h.boot || !o.started.IsZero() && h.started.After(o.started.Add(inexact))
}
