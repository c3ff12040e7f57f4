package main

import (
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// sample is what one sweep came to.
type sample struct {
	last, returned time.Duration
	heard          int
	stats          discover.SweepStats
}

// laptop sweeps again and again.
type laptop struct {
	c          discover.SweepConfig
	met, known bool // what it learns from its first sweep
}

// sweep sweeps once; with learn the laptop remembers whom it has heard, as far as it is to.
func (l *laptop) sweep(ctx context.Context, learn bool) (s sample, err error) {
	keys := map[discover.ID]ed25519.PublicKey{}
	var expect []discover.Known
	start := time.Now()
	s.stats, err = discover.Sweep(ctx, l.c, func(a discover.Answer) {
		s.heard++
		s.last = max(s.last, a.After)
		if learn {
			expect = append(expect, discover.Known{ID: a.Host.ID, At: a.From})
			keys[a.Host.ID] = a.Host.Key
		}
	})
	s.returned = time.Since(start)
	if learn && l.known {
		l.c.Expect = expect
	}
	if learn && (l.met || l.known) && l.c.Key != nil {
		l.c.Keyring = new(discover.Keyring)
		l.c.Known = func(id discover.ID) (ed25519.PublicKey, bool) { k, ok := keys[id]; return k, ok }
	}
	return s, err
}

// measure sweeps again and again and prints medians.
func measure(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("measure", flag.ContinueOnError)
	to := fs.String("to", "127.255.255.255", "broadcast address")
	port := fs.Int("port", discover.Port, "port")
	hosts := fs.Int("hosts", 100, "hosts that there are")
	sweeps := fs.Int("sweeps", 30, "how often to sweep")
	every := fs.Duration("every", time.Second, "pause after each sweep")
	known := fs.Bool("known", false, "expect the hosts of the first sweep")
	key := fs.String("key", "", "file of the operator's key, to sign with; none: only open hosts answer")
	met := fs.Bool("met", false, "know the keys of the hosts of the first sweep, as from known_hosts")
	laptops := fs.Int("laptops", 1, "how many sweep at once")
	if err := fs.Parse(args); err != nil {
		return err
	}
	c := discover.SweepConfig{To: []string{*to}, Port: *port, Sealed: true}
	if *key != "" {
		k, err := trust.LoadKey(*key)
		if err != nil {
			return err
		}
		c.Key = k
	}
	var list []*laptop
	for range *laptops {
		l := &laptop{c, *met, *known}
		if _, err := l.sweep(ctx, true); err != nil { // which warms up and is not counted
			return err
		}
		list = append(list, l)
	}
	var all []sample
	for range *sweeps {
		<-time.After(*every) // in which a fleet that is late comes to rest
		got, err := atOnce(ctx, list)
		if err != nil || ctx.Err() != nil {
			return err
		}
		all = append(all, got...)
	}
	print(out, all, *hosts)
	return nil
}

// atOnce has all laptops sweep at the same time.
func atOnce(ctx context.Context, list []*laptop) ([]sample, error) {
	got, errs := make([]sample, len(list)), make([]error, len(list))
	var wg sync.WaitGroup
	for i, l := range list {
		wg.Go(func() { got[i], errs[i] = l.sweep(ctx, false) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return got, nil
}

// floor asks a bare fleet again and again with one datagram of a request's size, and prints when the last of its answers came: what a
// sweep would take that is sure of nothing, is asked for nothing and loses nothing.
func floor(args []string, out io.Writer) error {
	fs := flag.NewFlagSet("floor", flag.ContinueOnError)
	to := fs.String("to", "127.255.255.255", "broadcast address")
	port := fs.Int("port", discover.Port, "port")
	hosts := fs.Int("hosts", 100, "hosts that there are")
	times := fs.Int("times", 30, "how often to ask")
	every := fs.Duration("every", 200*time.Millisecond, "pause after each time")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var last []float64
	whole := 0
	for range *times {
		heard, took, err := once(netip.AddrPortFrom(netip.MustParseAddr(*to), uint16(*port)), *hosts)
		if err != nil {
			return err
		}
		if heard == *hosts {
			whole++
		}
		last = append(last, ms(took))
		<-time.After(*every)
	}
	fmt.Fprintf(out, "floor: all %d of %d; last %.1f ms (p90 %.1f)\n", whole, *times, quantile(last, 0.5), quantile(last, 0.9))
	return nil
}

// once asks once, from a socket like that of a sweep, and returns how many answered and when the last did.
func once(to netip.AddrPort, hosts int) (heard int, last time.Duration, err error) {
	conn, err := discover.Listen("0.0.0.0:0")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }() // nothing was to be kept
	start := time.Now()
	if _, err := conn.WriteToUDPAddrPort(make([]byte, discover.MinRequest), to); err != nil {
		return 0, 0, err
	}
	buf := make([]byte, discover.MaxRequest)
	for heard < hosts {
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // only a closed socket refuses
		if _, err := conn.Read(buf); err != nil {
			break // what has not come by now was lost
		}
		heard, last = heard+1, time.Since(start)
	}
	return heard, last, nil
}

// print prints one line: recall, who said that he was complete, medians and the 99th percentile.
func print(out io.Writer, all []sample, hosts int) {
	whole, claimed, wrong, drops, received := 0, 0, 0, 0, 0
	var last, returned, bytes, rounds []float64
	for _, s := range all {
		if s.heard == hosts {
			whole++
		}
		if !s.stats.Complete {
			fmt.Fprintf(out, "incomplete: heard %d of %d in %v: %s\n", s.heard, hosts, s.returned, s.stats.Why)
		} else {
			claimed++
			if s.heard < hosts {
				wrong++
			}
		}
		drops += int(s.stats.Drops)
		received += s.stats.Received
		last = append(last, ms(s.last))
		returned = append(returned, ms(s.returned))
		bytes = append(bytes, float64(s.stats.SentBytes)/1000)
		rounds = append(rounds, float64(s.stats.Rounds))
	}
	fmt.Fprintf(out, "all %d of %d, said complete %d, wrongly %d; last %.1f ms (p99 %.1f), returns %.1f ms (p99 %.1f); %.2f replies a host, %.0f kB of requests, %.0f rounds, %d drops\n",
		whole, len(all), claimed, wrong, quantile(last, 0.5), quantile(last, 0.99), quantile(returned, 0.5), quantile(returned, 0.99),
		float64(received)/float64(len(all)*hosts), quantile(bytes, 0.5), quantile(rounds, 0.5), drops)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func quantile(list []float64, q float64) float64 {
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}
