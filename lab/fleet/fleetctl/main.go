// Fleetctl runs a simulated fleet, or measures sweeps of one that runs elsewhere.
//
//	fleetctl serve --hosts 10000 --loss 0.1
//	fleetctl measure --hosts 10000 --sweeps 30
//
// With --operator FILE and --key FILE, the same file, the hosts obey that operator alone and seal what they say: --met measures sweeps
// by a laptop that has their keys, --known by one that also has them on its list.
//
// Both default to the loopback network 127/8, where every address is this machine's. In a network namespace, give the fleet
// addresses with `ip route add local 10.77.64.0/18 dev lo` and --base 10.77.64.0, and measure with --to 10.77.255.255.
package main

import (
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"syscall"
	"time"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
	"rollcall/lab/fleet"
	"rollcall/lab/loss"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fleetctl:", err)
		os.Exit(1)
	}
}

// run does what the first word says. With FLEET_PROFILE=FILE in the environment it writes where the processor's time goes.
func run(ctx context.Context, args []string, out io.Writer) error {
	if name := os.Getenv("FLEET_PROFILE"); name != "" && len(args) > 0 {
		f, err := os.Create(name + "." + args[0])
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if len(args) > 0 {
		switch args[0] {
		case "serve":
			return serve(ctx, args[1:], out)
		case "measure":
			return measure(ctx, args[1:], out)
		case "floor":
			return floor(args[1:], out)
		}
	}
	return fmt.Errorf("usage: fleetctl serve|measure|floor --help")
}

// serve runs a fleet until it is interrupted, and says then what it did.
func serve(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	var c fleet.Config
	fs.StringVar(&c.Listen, "listen", "0.0.0.0:"+strconv.Itoa(discover.Port), "address and port")
	fs.IntVar(&c.Hosts, "hosts", 100, "virtual hosts")
	base := fs.String("base", "127.64.0.0", "the hosts have the addresses after this one")
	share := fs.Float64("loss", 0, "share of datagrams that get lost, 0 to 1")
	burst := fs.Float64("burst", 0, "mean length of bursts of losses, in datagrams; 0: none")
	burstTime := fs.Duration("burst-time", 0, "mean length of bursts of losses, as a time; 0: none")
	fs.DurationVar(&c.Delay, "delay", 0, "mean one-way delay")
	fs.Float64Var(&c.Duplicate, "duplicate", 0, "share of replies that come twice")
	fs.IntVar(&c.Stopped, "stopped", 0, "hosts that never answer")
	fs.IntVar(&c.BadClock, "bad-clock", 0, "hosts whose clock is an hour off")
	fs.IntVar(&c.Services, "services", 2, "services of each host")
	fs.BoolVar(&c.Bare, "bare", false, "answer every datagram at once, for a floor")
	fs.Uint64Var(&c.Seed, "seed", 1, "of the random numbers")
	key := fs.String("operator", "", "file of the key of the only operator whom the hosts answer, sealed; made if it is not there; none: open hosts")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var err error
	if *key != "" {
		k, _, err := trust.LoadOrMakeKey(*key, "fleet")
		if err != nil {
			return err
		}
		c.Operator = k.Public().Key
	}
	if c.Base, err = netip.ParseAddr(*base); err != nil {
		return err
	}
	if *share > 0 {
		c.Loss = func() loss.Model {
			switch {
			case *burst > 0:
				return loss.NewPacketBursts(*share, *burst)
			case *burstTime > 0:
				return loss.NewTimeBursts(*share, *burstTime)
			}
			return loss.Independent(*share)
		}
	}
	f, err := fleet.New(c)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d hosts at %v\n", c.Hosts, f.Addr())
	err = f.Run(ctx)
	s := f.Stats()
	fmt.Fprintf(out, "requests %d replies %d lost %d\n", s.Requests, s.Replies, s.Lost)
	return err
}

// sample is what one sweep came to.
type sample struct {
	last, returned time.Duration
	heard          int
	stats          discover.SweepStats
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
	keys := map[discover.ID]ed25519.PublicKey{}
	var all []sample
	for i := range *sweeps + 1 { // the first one warms up and is not counted
		var s sample
		var expect []discover.Known
		start := time.Now()
		var err error
		s.stats, err = discover.Sweep(ctx, c, func(a discover.Answer) {
			s.heard++
			s.last = max(s.last, a.After)
			expect = append(expect, discover.Known{ID: a.Host.ID, At: a.From})
			if i == 0 {
				keys[a.Host.ID] = a.Host.Key
			}
		})
		s.returned = time.Since(start)
		if err != nil || ctx.Err() != nil {
			return err
		}
		if i == 0 && *known {
			c.Expect = expect
		}
		if i == 0 && (*met || *known) && c.Key != nil {
			c.Keyring = new(discover.Keyring)
			c.Known = func(id discover.ID) (ed25519.PublicKey, bool) { k, ok := keys[id]; return k, ok }
		}
		if i > 0 {
			all = append(all, s)
		}
		<-time.After(*every) // in which a fleet that is late comes to rest
	}
	print(out, all, *hosts)
	return nil
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
