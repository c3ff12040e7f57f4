package lab

import (
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rollcall/internal/discover"
	"rollcall/internal/trust"
)

var (
	forgeTarget = flag.String("forge", "", "address to send forged requests to; for TestForgeHelper alone")
	forgeSource = flag.String("forge-source", "", "address in whose name")
	forgeKey    = flag.String("forge-key", "", "id of the operator in whose name")
)

// TestForgeHelper is no test: it is the program that forges, run in a namespace of its own by other tests. It sends 50,000 requests
// a second, for at most 60 s, in the name of an operator and from his address, right but for tag and signature.
func TestForgeHelper(t *testing.T) {
	if *forgeTarget == "" {
		t.Skip("run by other tests as a program")
	}
	to, from := netip.MustParseAddr(*forgeTarget), netip.MustParseAddr(*forgeSource)
	id, err := hex.DecodeString(*forgeKey)
	if err != nil {
		t.Fatal(err)
	}
	evil, err := trust.NewKey("evil")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := discover.Request{Sweep: 7, Seq: 1, Round: 1, Time: time.Now(), Requester: from, PrefixLen: 24}.Sign(evil)
	if err != nil {
		t.Fatal(err)
	}
	const ipHeader, udpHeader, opOperator, opSeq = 20, 8, 24, 60
	b := make([]byte, ipHeader+udpHeader, ipHeader+udpHeader+len(raw))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP // version and length, hops; the kernel fills in the rest
	a := from.As4()
	copy(b[12:], a[:])
	a = to.As4()
	copy(b[16:], a[:])
	binary.BigEndian.PutUint16(b[ipHeader:], 40_000)
	binary.BigEndian.PutUint16(b[ipHeader+2:], discover.Port)
	binary.BigEndian.PutUint16(b[ipHeader+4:], uint16(udpHeader+len(raw)))
	b = append(b, raw...)
	body := b[ipHeader+udpHeader:]
	copy(body[opOperator:], id)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const perMilli = 50
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	end := time.After(60 * time.Second)
	sent, start := 0, time.Now()
	for said := start; ; {
		select {
		case <-end:
			return
		case <-tick.C:
		}
		for due := int(time.Since(start).Milliseconds()+1)*perMilli - sent; due > 0; due-- {
			binary.BigEndian.PutUint32(body[opSeq:], uint32(sent)+1)
			_ = unix.Sendto(fd, b, 0, &unix.SockaddrInet4{Addr: to.As4()}) // a full queue drops, as a network does
			sent++
		}
		if time.Since(said) > time.Second {
			said = time.Now()
			fmt.Printf("forging: %.0f requests a second\n", float64(sent)/time.Since(start).Seconds())
		}
	}
}

// A host must answer its operator while a neighbour sends it 50,000 requests a second in the operator's name, and from his address.
func TestSweepDuringForgery(t *testing.T) {
	Need(t)
	l := NewLAN(t, 3)
	key, file := newOperator(t, l)
	host := l.Boot(1, HostConfig{Extra: obeying(file)})
	p := newLaptop(t, l, 2, 1, key)
	sweep := func(during string) {
		t.Helper()
		s, err := p.sweep(false)
		if err != nil || s.heard != 1 {
			t.Errorf("sweep %s: %d hosts, %v, %+v", during, s.heard, err, s.stats)
		}
	}
	deadline := time.Now().Add(patience)
	for s, err := p.sweep(false); s.heard == 0; s, err = p.sweep(false) {
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the host does not answer: %v, %+v", err, s.stats)
		}
	}
	id := key.ID()
	forger := l.Start(3, false, os.Args[0], "-test.run", "^TestForgeHelper$", "-test.v", "-forge", l.Addr(1), "-forge-source", l.Addr(2),
		"-forge-key", hex.EncodeToString(id[:]))
	forger.WaitLine("forging", patience)
	before, start := cpu(t, host.Udpmon.Pid()), time.Now()
	for range 10 {
		sweep("during the forgery")
	}
	used, took := cpu(t, host.Udpmon.Pid())-before, time.Since(start)
	forger.Kill()
	lines := forger.Lines()
	t.Logf("%s; udpmon used %.1f %% of a core", lines[len(lines)-1], 100*used.Seconds()/took.Seconds())
}
