package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/internal/bus"
	"rollcall/reports/janitoo/wire"
)

// startMosquitto runs mosquitto for the life of the test and returns its URL.
func startMosquitto(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
		if _, err := os.Stat(path); err != nil {
			t.Skip("mosquitto is not installed")
		}
	}
	port := freePort(t)
	conf := write(t, filepath.Join(t.TempDir(), "mosquitto.conf"),
		fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nlog_dest none\n", port))
	cmd := exec.Command(path, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	eventually(t, "mosquitto", true, func() bool {
		c, err := net.DialTimeout("tcp", at(port), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return "tcp://" + at(port)
}

// states returns the nodes of a host's map, by state.
func (b *bed) states() string {
	b.m.janitoo.mu.Lock()
	defer b.m.janitoo.mu.Unlock()
	by := map[wire.State][]string{}
	for _, n := range b.m.janitoo.net.Nodes() {
		by[n.State] = append(by[n.State], string(n.Hadd))
	}
	var out []string
	for _, s := range []wire.State{wire.Online, wire.Offline, wire.Pending, wire.Failed} {
		if len(by[s]) > 0 {
			out = append(out, fmt.Sprintf("%s %s", s, strings.Join(by[s], " ")))
		}
	}
	return strings.Join(out, ", ")
}

// Both worlds on one mosquitto: Janitoo's own nodes, as they were captured, and a host of ours with a real service are in one map, of a
// primary and of its secondary, with their values and states, from the host's first second to its end.
func TestJanitooBothWorlds(t *testing.T) {
	t.Parallel()
	url := startMosquitto(t)
	real := realJanitoo(t, url)
	at := func(host string, change func(*config.Config)) *bed {
		return startBed(t, func(c *config.Config) {
			change(c)
			c.Host, c.Broker = host, config.Broker{URL: url}
		})
	}
	ours := at("pi1", withFaces(t, "{janitoo: {hadd: 0300, bus: pi, nodes: {lamp: {of: gpio/led, name: Lamp}}}}"))
	ours.gpio()
	p := at("pi2", func(c *config.Config) { c.Janitoo = config.Janitoo{Network: config.JanitooPrimary, Hadd: "0001"} })
	s := at("pi3", func(c *config.Config) { c.Janitoo = config.Janitoo{Network: config.JanitooSecondary, Hadd: "0002"} })

	const theirs = "0021/0000 0021/0001 0120/0000 0120/0001 0121/0000 0121/0001 0121/0002 0121/0003 0121/0004 0225/0000 0225/0001 0225/0002 0225/0003 0225/0004"
	const online = "ONLINE " + theirs + " 0300/0000 0300/0001 1118/0000 1118/0001"
	last := time.Time{}
	beat := func() { // of theirs, so that nobody grows old however slow the machine is
		if time.Since(last) < time.Second {
			return
		}
		last = time.Now()
		for hadd := range strings.FieldsSeq(theirs + " 1118/0000 1118/0001") {
			real.Send(bus.Message{Topic: wire.HeartbeatTopic(wire.Hadd(hadd)), Payload: []byte("ONLINE")})
		}
	}
	for name, b := range map[string]*bed{"primary": p, "secondary": s} {
		eventually(t, "map of the "+name, online+", OFFLINE 0021/0002", func() string {
			beat()
			return b.states()
		})
	}
	for name, b := range map[string]*bed{"primary": p, "secondary": s} {
		eventually(t, "switches in the map of the "+name, "0225/0004/switch 0300/0001/switch", func() string { return b.switches() })
	}
	// A server of theirs stops, and a host of ours: each says so, in Janitoo's words.
	for _, hadd := range []wire.Hadd{"0121/0001", "0121/0000"} {
		real.Send(bus.Message{Topic: wire.HeartbeatTopic(hadd), Payload: []byte("OFFLINE")})
	}
	if err := ours.stop(); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*bed{"primary": p, "secondary": s} {
		eventually(t, "those who have stopped, in the map of the "+name, "0121/0000 0121/0001 0300/0000 0300/0001", b.gone)
	}
}

// gone returns who is not there any more: OFFLINE, or silent where a goodbye came too late on a slow machine.
func (b *bed) gone() string {
	b.m.janitoo.mu.Lock()
	defer b.m.janitoo.mu.Unlock()
	var out []string
	for _, n := range b.m.janitoo.net.Nodes() {
		if c := n.Hadd.Ctrl(); n.State == wire.Offline && c == 121 || n.State != wire.Online && c == 300 {
			out = append(out, string(n.Hadd))
		}
	}
	return strings.Join(out, " ")
}

// switches returns the values of the map that are switches.
func (b *bed) switches() string {
	b.m.janitoo.mu.Lock()
	defer b.m.janitoo.mu.Unlock()
	var out []string
	for _, info := range []string{wire.InfoBasics, wire.InfoUsers} {
		for _, v := range b.m.janitoo.net.Values(info) {
			if v.CmdClass == wire.CmdSwitchBinary {
				out = append(out, string(v.Hadd)+"/"+v.UUID)
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
