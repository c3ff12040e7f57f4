package broker

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
)

// Half-sent CONNECTs from one address cost the host little: there are 64 of them at a time, and everybody else still gets in.
func TestConnectionsOfOneStranger(t *testing.T) {
	t.Parallel()
	var log logBuffer
	b, addr := start(t, Config{Allow: allowAll, Trusted: trustHouse, Log: log.logger(slog.LevelInfo)})
	half := connectFrame{id: strings.Repeat("x", 200)}.bytes()[:100]
	crowd := make([]*raw, maxFromOne)
	for i := range crowd {
		crowd[i] = dialStranger(t, addr)
		if i%2 == 0 {
			crowd[i].send(half)
		} else {
			crowd[i].connect(fmt.Sprint("s", i)) // established ones count as well
		}
	}
	const more = 20
	for range more {
		dialStranger(t, addr).expectClosed()
	}
	if got := b.Stats().Turned; got != more {
		t.Errorf("%d connections turned away, want %d", got, more)
	}
	if got := strings.Count(log.String(), "too many connections from one address"); got != 1 {
		t.Errorf("%d log lines, want 1: %s", got, log.String())
	}
	for i := range 2 * maxFromOne { // programs of the house have no such bound
		dial(t, addr).connect(fmt.Sprint("own", i))
	}
	crowd[1].disconnect()
	eventually(t, "room", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.crowd[stranger] == maxFromOne-1 })
	dialStranger(t, addr).connect("again")
}

// Nothing is remembered of an address that is gone, and each has its own bound.
func TestCrowdForgets(t *testing.T) {
	t.Parallel()
	b, addr := start(t, Config{Allow: allowAll, Trusted: func(Peer) bool { return false }})
	var all []*raw
	for i := range 3 {
		for range maxFromOne {
			all = append(all, dialFrom(t, addr, netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i)})))
		}
	}
	conns := func() int { b.mu.Lock(); defer b.mu.Unlock(); return len(b.conns) }
	eventually(t, "connections", func() bool { return conns() == 3*maxFromOne })
	if got := b.Stats().Turned; got != 0 {
		t.Errorf("%d connections turned away, want none", got)
	}
	for _, c := range all {
		_ = c.conn.Close()
	}
	eventually(t, "end of all", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.conns)+len(b.crowd)+b.others == 0 })
}

func TestDefaultMaxClients(t *testing.T) {
	t.Parallel()
	b, _ := start(t, Config{Allow: allowAll})
	if got := b.config.MaxClients; got != 1000 {
		t.Errorf("MaxClients is %d by default, want 1000", got)
	}
}
