package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rollcall/internal/bus"
)

func addrs(pairs ...string) map[string]netip.Addr {
	out := map[string]netip.Addr{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = netip.MustParseAddr(pairs[i+1])
	}
	return out
}

// shown writes messages as "topic=payload" in one line.
func shown(messages []bus.Message) string {
	var out []string
	for _, m := range messages {
		out = append(out, m.Topic+"="+string(m.Payload))
	}
	return strings.Join(out, " ")
}

func TestMapOfHosts(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	path := filepath.Join(t.TempDir(), "heard.json")
	h, err := loadHeard(path, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	add := func(want string, pairs ...string) {
		t.Helper()
		got, err := h.add(addrs(pairs...))
		if err != nil || shown(got) != want {
			t.Errorf("add(%v) = %q, %v, want %q", pairs, shown(got), err, want)
		}
	}
	h.sweep()
	add("/pi1=10.0.0.1 /pi2=10.0.0.2", "pi1", "10.0.0.1", "pi2", "10.0.0.2")
	add("", "pi1", "10.0.0.1")
	add("/pi1=10.0.0.9", "pi1", "10.0.0.9") // a new lease
	add("", "a/b", "10.0.0.3", "#", "10.0.0.3")
	if !h.has("pi2") || h.has("pi3") {
		t.Error("has is wrong")
	}

	// Sweeps of some hosts only count nobody as missing.
	for range 10 {
		add("", "pi1", "10.0.0.9")
	}
	// Three sweeps of everybody without pi2: it goes with the fourth.
	for range 3 {
		h.sweep()
		add("", "pi1", "10.0.0.9")
	}
	h.sweep()
	add("/pi2=", "pi1", "10.0.0.9")

	// A restart knows what it has to take away.
	again, err := loadHeard(path, func() time.Time { return now })
	if err != nil || shown(again.all()) != "/pi1=10.0.0.9" {
		t.Errorf("after a restart the map is %q, %v", shown(again.all()), err)
	}
	now = now.Add(hostLifetime + time.Second)
	gone, err := again.age()
	if err != nil || shown(gone) != "/pi1=" {
		t.Errorf("after an hour age() = %q, %v", shown(gone), err)
	}
}

func TestMapOfHostsIsBounded(t *testing.T) {
	t.Parallel()
	h, err := loadHeard(filepath.Join(t.TempDir(), "heard.json"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	many := map[string]netip.Addr{}
	for i := range maxHosts + 100 {
		many["h"+strings.Repeat("x", i%50)+string(rune('a'+i%26))+time.Duration(i).String()[:len(time.Duration(i).String())-2]] = netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	}
	if _, err := h.add(many); err != nil {
		t.Fatal(err)
	}
	if len(h.hosts) > maxHosts {
		t.Errorf("%d hosts on the map, at most %d are allowed", len(h.hosts), maxHosts)
	}
}

func TestCorruptMapBeginsEmpty(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "heard.json")
	if err := os.WriteFile(path, []byte(`{"pi1": "10.0.`), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := loadHeard(path, time.Now)
	if err == nil || h == nil || len(h.hosts) != 0 {
		t.Fatalf("loadHeard = %v, %v, want an empty map and an error", h, err)
	}
	if _, err := h.add(addrs("pi1", "10.0.0.1")); err != nil {
		t.Error(err)
	}
}
