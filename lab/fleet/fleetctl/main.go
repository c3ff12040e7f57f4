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
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"runtime/pprof"
	"strconv"
	"syscall"

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
