package lab

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
	"rollcall/reports"
)

// Respond has hosts 1 to n of a LAN answer sweeps as udpmon does, all in this process and without anything else of a host: for more
// hosts than there is room for as processes. They obey the operator alone; nil: they are open. ready is called when all of them
// listen. It returns when ctx ends, and nil then.
func Respond(ctx context.Context, ns func(i int) string, n int, operator ed25519.PublicKey, ready func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all, listening sync.WaitGroup
	listening.Add(n)
	for i := 1; i <= n; i++ {
		all.Go(func() {
			within := func(f func()) error { return Inside(ns(i), f) }
			var r *discover.Responder
			var err error
			inside := within(func() {
				r, err = light(i, operator, func(c *discover.ResponderConfig) { c.Within = within })
			})
			if err = errors.Join(err, inside); err == nil {
				listening.Done()
				err = r.Run(ctx) // not in the namespace: a goroutine that keeps its thread to itself is woken by two others
			}
			if err != nil {
				cancel(fmt.Errorf("host %d: %w", i, err))
			}
		})
	}
	all.Go(func() {
		up := make(chan struct{})
		go func() { listening.Wait(); close(up) }() // ends with the process if a host could not listen
		select {
		case <-up:
			ready()
		case <-ctx.Done():
		}
	})
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// light returns the responder of host i, in whose network it is called, with changes to its configuration.
func light(i int, operator ed25519.PublicKey, changes ...func(*discover.ResponderConfig)) (*discover.Responder, error) {
	conn, err := discover.Listen("")
	if err != nil {
		return nil, err
	}
	key, err := trust.NewKey("light")
	if err != nil {
		return nil, err
	}
	guard, err := discover.NewGuard(nil, nil)
	if err != nil {
		return nil, err
	}
	c := discover.ResponderConfig{Conn: conn, Open: operator == nil, Guard: guard, Passes: new(discover.Passes),
		Publish: func(reports.Request, netip.AddrPort, bool) {}}
	if operator != nil {
		id := trust.PublicKey{Key: operator}.ID()
		c.Key = key
		c.Operators = func(asked [8]byte) (ed25519.PublicKey, bool) { return operator, asked == id }
	}
	for _, change := range changes {
		change(&c)
	}
	r, err := discover.NewResponder(c)
	if err != nil {
		return nil, err
	}
	h := discover.Host{Hostname: fmt.Sprintf("light%d", i), Model: "Raspberry Pi Zero 2 W Rev 1.0", OS: "Linux 6.12.47+rpt-rpi-v8", Arch: "arm64",
		Version: "lab", Started: time.Now(), Open: operator == nil, Brokers: []string{"tcp://127.0.0.1:1883"}, Services: []discover.Service{
			{Name: "hostsensor", Function: "hostsensor", Status: reports.Online, Points: 20, Digest: [8]byte{1}},
			{Name: "gpio", Function: "gpio", Status: reports.Online, Points: 12, Digest: [8]byte{2}}}}
	binary.BigEndian.PutUint64(h.ID[:], 0x11947<<32+uint64(i))
	r.Update(h)
	return r, nil
}
