package lab

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

// What tests and benchmarks of sweeps share: hosts that obey an operator, and a laptop that has his key.

// laptop sweeps from a host of a LAN, signed.
type laptop struct {
	l    *LAN
	i    int // the host
	want int // how many hosts there are
	key  trust.Key
	keys map[discover.ID]ed25519.PublicKey // of the hosts that were met
	ring *discover.Keyring
	list []discover.Known
}

func newLaptop(t testing.TB, l *LAN, i, want int, key trust.Key) *laptop {
	t.Helper()
	return &laptop{l: l, i: i, want: want, key: key}
}

// newOperator makes the key of an operator, and the file that has hosts obey him.
func newOperator(t testing.TB, l *LAN) (key trust.Key, file string) {
	t.Helper()
	key, err := trust.NewKey("laptop")
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(l.dir, "authorized_operators")
	line := trust.Operator{PublicKey: key.Public(), Rights: trust.Read}.Line()
	if err := os.WriteFile(file, []byte(line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return key, file
}

// obeying is the part of a host's configuration that has it obey the operators of the file.
func obeying(file string) string {
	return "discovery: {authorized_operators: " + file + "}\n"
}

// swept1 is what one sweep came to.
type swept1 struct {
	heard          int
	last, returned time.Duration
	services       int // of the hosts, all together
	stats          discover.SweepStats
}

// sweep sweeps once. The laptop does not know what it has not learnt: with learn it remembers who has answered.
func (p *laptop) sweep(learn bool) (s swept1, err error) {
	c := discover.SweepConfig{Sealed: true, Key: p.key, Expect: p.list, Keyring: p.ring}
	if p.keys != nil {
		keys := p.keys
		c.Known = func(id discover.ID) (ed25519.PublicKey, bool) { k, ok := keys[id]; return k, ok }
	}
	met := map[discover.ID]ed25519.PublicKey{}
	var list []discover.Known
	inside := Inside(p.l.NS(p.i), func() {
		start := time.Now()
		s.stats, err = discover.Sweep(context.Background(), c, func(a discover.Answer) {
			s.heard++
			s.services += len(a.Host.Services)
			s.last = max(s.last, a.After)
			met[a.Host.ID] = a.Host.Key
			list = append(list, discover.Known{ID: a.Host.ID, At: a.From})
		})
		s.returned = time.Since(start)
	})
	if learn {
		p.keys, p.list, p.ring = met, list, new(discover.Keyring)
	}
	return s, errors.Join(err, inside)
}

// series is what many sweeps of the same came to.
type series struct {
	name           string
	want           int
	all            int // sweeps
	whole          int // that heard everyone
	heard          int // hosts, in all sweeps
	wrong          int // that said so and had not
	unsure         int // that said that they were incomplete
	last, returned []float64
	received       int
	drops          uint32
	bytes          int
	loss           [2]float64
}

// sweeps sweeps so often, and calls before each time. The first sweep is one more, and is not counted.
func (p *laptop) sweeps(t testing.TB, name string, times int, before func()) series {
	t.Helper()
	s := series{name: name, want: p.want}
	for i := range times + 1 {
		before()
		one, err := p.sweep(false)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if i > 0 {
			s.add(t, one)
		}
	}
	return s
}

func (s *series) add(t testing.TB, one swept1) {
	s.all++
	s.heard += one.heard
	switch {
	case one.heard == s.want:
		s.whole++
	case one.stats.Complete:
		s.wrong++
	}
	if !one.stats.Complete {
		s.unsure++
	}
	if one.heard != s.want || !one.stats.Complete {
		stats := one.stats
		t.Logf("%s: heard %d of %d, %d missing, complete %v: %s; loss %.2f, %.2f, P(miss) %.2g, %d drops, warnings %q", s.name, one.heard, s.want,
			len(stats.Missing), stats.Complete, stats.Why, stats.RequestLoss, stats.ReplyLoss, stats.PMiss, stats.Drops, stats.Warnings)
	}
	s.last, s.returned = append(s.last, ms(one.last)), append(s.returned, ms(one.returned))
	s.received += one.stats.Received
	s.drops += one.stats.Drops
	s.bytes += one.stats.SentBytes
	s.loss[0] += one.stats.RequestLoss
	s.loss[1] += one.stats.ReplyLoss
}

// String is a row of a table: who, recall, medians and 90th percentiles, replies a host, kB of requests.
func (s series) String() string {
	return fmt.Sprintf("| %s | %d of %d | %d, %d | %.1f (%.1f) ms | %.1f (%.1f) ms | %.2f | %d kB | %d | %.2f, %.2f |", s.name, s.whole, s.all, s.unsure, s.wrong,
		quantile(s.last, 0.5), quantile(s.last, 0.9), quantile(s.returned, 0.5), quantile(s.returned, 0.9),
		float64(s.received)/float64(s.all*s.want), s.bytes/s.all/1000, s.drops, s.loss[0]/float64(s.all), s.loss[1]/float64(s.all))
}

// seriesHead is the head of the table that String makes rows of.
const seriesHead = "| hosts, loss | heard all | incomplete by their own word, wrongly complete | last host, median (90 %) | returns | replies received a host | requests | drops | estimated loss of requests, replies |"

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// quantile returns the value that a share q of the list is not above.
func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

var (
	respondNS    = flag.String("respond", "", "name of network namespaces up to the number; for TestRespondHelper alone")
	respondHosts = flag.Int("respond-hosts", 0, "how many there are")
	respondKey   = flag.String("respond-key", "", "public key of the operator in base 64; none: open hosts")
)

// TestRespondHelper is no test: it is the program that answers for many hosts, each in its own network namespace.
func TestRespondHelper(t *testing.T) {
	if *respondNS == "" {
		t.Skip("run by other tests as a program")
	}
	var key ed25519.PublicKey
	if *respondKey != "" {
		b, err := base64.StdEncoding.DecodeString(*respondKey)
		if err != nil {
			t.Fatal(err)
		}
		key = b
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	ns := func(i int) string { return fmt.Sprintf("%s%d", *respondNS, i) }
	for i := 1; i <= *respondHosts; i++ { // the floor
		var err error
		inside := Inside(ns(i), func() {
			var conn *net.UDPConn
			if conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: floorPort}); err == nil {
				go echoOn(conn) //nolint:errcheck // until the process ends
			}
		})
		if err := errors.Join(err, inside); err != nil {
			t.Fatal(err)
		}
	}
	if err := Respond(ctx, ns, *respondHosts, key, func() { fmt.Println("responding") }); err != nil {
		t.Fatal(err)
	}
}

// respond has hosts 1 to n answer in a process of their own; to the operator alone, if one is named.
func (l *LAN) respond(n int, operator ed25519.PublicKey) *Process {
	l.t.Helper()
	args := []string{"-test.run", "^TestRespondHelper$", "-test.timeout", "1h", "-respond", strings.TrimSuffix(l.NS(0), "0"), "-respond-hosts", fmt.Sprint(n)}
	if operator != nil {
		args = append(args, "-respond-key", base64.StdEncoding.EncodeToString(operator))
	}
	p := l.Start(n+1, false, os.Args[0], args...)
	p.WaitLine("responding", time.Minute)
	return p
}

// arpCount counts the ARP frames that any port of a LAN's bridge sees.
type arpCount struct{ fd int }

func countARP(t testing.TB, l *LAN) arpCount {
	t.Helper()
	const arp = unix.ETH_P_ARP>>8 | unix.ETH_P_ARP&0xff<<8 // in network order
	c := arpCount{-1}
	var err error
	inside := Inside(l.Switch(), func() {
		if c.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, arp); err == nil {
			err = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
		}
	})
	if err := errors.Join(err, inside); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(c.fd) })
	return c
}

// since returns how many there were since it was last asked, with those that there was no room for.
func (c arpCount) since(t testing.TB) (n int) {
	t.Helper()
	for buf := make([]byte, 128); ; n++ {
		if _, err := unix.Read(c.fd, buf); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	stats, err := unix.GetsockoptTpacketStats(c.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil {
		t.Fatal(err)
	}
	return n + int(stats.Drops)
}

// atOnce runs f for each of n at the same time.
func atOnce(n int, f func(int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}
