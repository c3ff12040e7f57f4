package main

import (
	"crypto/ed25519"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"context"

	"rollcall/internal/bus"
	"rollcall/internal/bus/bustest"
	"rollcall/internal/discover"
	"rollcall/internal/trust"
	"rollcall/reports"
)

// newHostKey makes the key of a host.
func newHostKey(t *testing.T, name string) trust.Key {
	t.Helper()
	k, err := trust.NewKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// operator returns the laptop's public line, as key show prints it.
func (l *laptop) operator() string {
	l.t.Helper()
	out, _ := l.want(exitOK, "key", "show")
	return strings.TrimSpace(out)
}

// bootClosed starts a host on loopback that answers the operators of these lines only.
func bootClosed(t *testing.T, h discover.Host, key trust.Key, lines ...string) *responder {
	t.Helper()
	return bootClosedAt(t, h, key, nil, lines...)
}

// bootClosedAt starts such a host with a clock of its own.
func bootClosedAt(t *testing.T, h discover.Host, key trust.Key, now func() time.Time, lines ...string) *responder {
	t.Helper()
	all, err := trust.ParseOperators("lines", []byte(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := discover.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := conn.LocalAddr().String()
	guard, err := discover.NewGuard(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	passes, err := discover.LoadPasses(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := discover.NewResponder(discover.ResponderConfig{Conn: conn, Guard: guard, Passes: passes, Key: key, Now: now,
		Publish: func(reports.Request, netip.AddrPort, bool) {},
		Operators: func(id [8]byte) (ed25519.PublicKey, bool) {
			op, ok := all.Find(id)
			return op.Key, ok
		}})
	if err != nil {
		t.Fatal(err)
	}
	r.Update(h)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return &responder{r, addr, stop}
}

func has(t *testing.T, what, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("%s is %q, want %q in it", what, got, w)
		}
	}
}

func TestKeyCommands(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	first := l.operator()
	if again := l.operator(); again != first || !strings.HasPrefix(first, "ssh-ed25519 AAAA") {
		t.Errorf("key show prints %q, then %q", first, again)
	}
	_, stderr := l.want(exitFail, "key", "new")
	has(t, "stderr", stderr, "--replace")
	out, _ := l.want(exitOK, "key", "new", "--replace")
	if second := strings.TrimSpace(out); second == first || l.operator() != second {
		t.Error("the key was not replaced")
	}
	out, _ = l.want(exitOK, "key", "show", "--certificate")
	has(t, "certificate", out, "-----BEGIN CERTIFICATE-----")
	path := filepath.Join(l.keys, operatorKeyFile)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"key", "show"}, {"sweep", "--to", "127.0.0.1:9"}, {"get", "--to", "127.0.0.1:9", "pi/gpio"}} {
		_, stderr := l.want(exitFail, args...)
		has(t, "stderr", stderr, "chmod 600 "+path)
	}
	l.want(exitUsage, "key")
	l.want(exitUsage, "trust")
	l.want(exitUsage, "enroll")
}

func TestTrust(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	key := newHostKey(t, "pizero2")
	h := bootClosed(t, hostNamed("pizero2", 1), key, l.operator())
	stdout, stderr := l.want(exitOK, "sweep", "--to", h.addr)
	has(t, "table", stdout, "pizero2")
	has(t, "stderr", stderr, "key not known yet, accept it with udpsrv trust HOST: pizero2")
	l.stdin = "no\n"
	_, stderr = l.want(exitFail, "trust", "--to", h.addr, "pizero2")
	has(t, "stderr", stderr, key.Public().Fingerprint(), "not remembered")
	l.stdin = "yes\n"
	l.want(exitOK, "trust", "--to", h.addr, "pizero2")
	secrets := filepath.Join(l.keys, secretsFile)
	for range 2 { // the second has the secret from the file
		_, stderr = l.want(exitOK, "sweep", "--to", h.addr)
		if strings.Contains(stderr, "not known") {
			t.Errorf("the key is forgotten: %s", stderr)
		}
		if info, err := os.Stat(secrets); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("file of secrets: %v, %v, want one of mode 0600", info, err)
		}
	}
	if err := os.Chmod(secrets, 0o644); err != nil {
		t.Fatal(err)
	}
	_, stderr = l.want(exitFail, "sweep", "--to", h.addr)
	has(t, "stderr", stderr, "chmod 600 "+secrets)
	if err := os.Chmod(secrets, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr = l.want(exitOK, "trust", "--to", h.addr, "pizero2")
	has(t, "stderr", stderr, "known already")

	// Another host under its name, with its id or its key gone: nothing is believed, and loudly so.
	evil := newHostKey(t, "evil")
	for name, other := range map[string]*responder{
		"new key":          bootClosed(t, hostNamed("pizero2", 1), evil, l.operator()),
		"new id and key":   bootClosed(t, hostNamed("pizero2", 2), evil, l.operator()),
		"another's id":     bootClosed(t, hostNamed("pizero9", 1), evil, l.operator()),
		"open":             boot(t, hostNamed("pizero2", 1), nil),
		"open, another id": boot(t, hostNamed("pizero2", 3), nil),
	} {
		for _, args := range [][]string{{"sweep"}, {"trust", "--yes"}, {"get"}} {
			switch args[0] {
			case "trust":
				args = append(args, "pizero2")
			case "get":
				args = append(args, "pizero2/gpio")
			}
			stdout, stderr := l.want(exitFail, append(args, "--to", other.addr)...)
			if !strings.Contains(stderr, "HAS CHANGED") && !strings.Contains(stderr, "WITHOUT ITS KEY") || strings.Contains(stdout, "pizero") {
				t.Errorf("%s, %v: stdout %q, stderr %q", name, args, stdout, stderr)
			}
			has(t, "stderr", stderr, "udpsrv trust --forget pizero2")
		}
	}
	full, _ := os.Stat(secrets)
	l.want(exitOK, "trust", "--forget", "pizero2")
	if left, err := os.Stat(secrets); err != nil || full == nil || left.Size() >= full.Size() {
		t.Errorf("file of secrets after --forget: %v, %v; before: %v", left, err, full)
	}
	l.want(exitFail, "trust", "--forget", "pizero2")
	stranger := newLaptop(t)
	_, stderr = stranger.want(exitFail, "trust", "--yes", "--to", h.addr, "--wait", "300ms", "pizero2")
	has(t, "stderr", stderr, "authorized_operators")
}

// secureBroker is a broker with TLS by these keys, as udpmon opens it.
func TestCommandsOverTLS(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.operator()
	dir := t.TempDir()
	operators := filepath.Join(dir, "operators")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, _, err := trust.LoadOrMakeKey(filepath.Join(dir, "host_key"), "pizero2")
	if err != nil {
		t.Fatal(err)
	}
	m := startMosquitto(t, l, dir, operators, write, "read,control "+l.operator())
	at := hostNamed("pizero2", 1, "ssl://127.0.0.1:"+m.secure)
	h := bootClosed(t, at, key, l.operator())
	serve(t, "tcp://127.0.0.1:"+m.plain, func(c reports.Command) reports.Result { return reports.Done(c, nil) })
	_, stderr := l.want(exitFail, "set", "--to", h.addr, "pizero2/gpio/output/pump", "ON")
	has(t, "stderr", stderr, "host key is not known", "udpsrv trust pizero2")
	l.want(exitOK, "trust", "--yes", "--to", h.addr, "pizero2")
	l.want(exitOK, "set", "--to", h.addr, "pizero2/gpio/output/pump", "ON")
	l.want(exitOK, "control", "--to", h.addr, "pizero2/gpio", "x")
	out, _ := l.want(exitOK, "spy", "--to", h.addr, "--host", "pizero2", "-n", "1", "/pizero2/status")
	has(t, "spy", out, "online")
	// Without the right for it mosquitto closes the door; the embedded broker says why (udpmon's tests).
	_, stderr = l.want(exitFail, "setup", "--to", h.addr, "--timeout", "1s", "pizero2/gpio", "-f", os.DevNull)
	if stderr == "" {
		t.Error("no word about a set-up that is not allowed")
	}
	// Another broker in its place is not spoken to.
	evil := newHostKey(t, "evil")
	other := t.TempDir()
	if err := evil.Replace(filepath.Join(other, "host_key")); err != nil {
		t.Fatal(err)
	}
	m2 := startMosquitto(t, l, other, operators, write, "read,control "+l.operator())
	h.Update(hostNamed("pizero2", 1, "ssl://127.0.0.1:"+m2.secure))
	if err := os.Remove(l.cache); err != nil {
		t.Fatal(err)
	}
	_, stderr = l.want(exitFail, "get", "--to", h.addr, "pizero2/gpio")
	has(t, "stderr", stderr, "somebody may stand between")
}

// TestNamedBrokerOverTLS: a broker that --broker names is held to the key of the host of that name, whether a sweep has seen it or
// not; one of a name that is not known to the authorities of the system.
func TestNamedBrokerOverTLS(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	l.operator()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	brokerOf := func(dir string, k trust.Key) mosquittoAt {
		t.Helper()
		if err := k.Replace(filepath.Join(dir, "host_key")); err != nil {
			t.Fatal(err)
		}
		return startMosquitto(t, l, dir, filepath.Join(dir, "operators"), write, "read,control "+l.operator())
	}
	const name = "localhost" // which resolves everywhere
	key := newHostKey(t, name)
	good, evil := brokerOf(t.TempDir(), key), brokerOf(t.TempDir(), newHostKey(t, "evil"))
	h := bootClosed(t, hostNamed(name, 1, "ssl://127.0.0.1:"+good.secure), key, l.operator())
	serve(t, "tcp://127.0.0.1:"+good.plain, func(c reports.Command) reports.Result { return reports.Done(c, nil) })
	set := func(want int, broker string) string {
		t.Helper()
		_, stderr := l.want(want, "set", "--broker", broker, "--timeout", "2s", "pizero2/gpio/output/pump", "ON")
		return stderr
	}
	has(t, "stderr before trust", set(exitFail, "ssl://"+name+":"+good.secure), "certificate")
	l.want(exitOK, "trust", "--yes", "--to", h.addr, name)
	for _, seen := range []bool{true, false} {
		set(exitOK, "ssl://"+name+":"+good.secure)
		has(t, "stderr about another broker", set(exitFail, "ssl://"+name+":"+evil.secure), "somebody may stand between")
		has(t, "stderr about a name that is not known", set(exitFail, "ssl://ip6-localhost.invalid:"+good.secure), "ip6-localhost.invalid")
		if err := os.Remove(l.cache); seen && err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	has(t, "stderr about an address that is not known", set(exitFail, "ssl://127.0.0.1:"+good.secure), "certificate")
	// The broker that is named need not be the host's: its key is not that of the host that is spoken to.
	known, err := trust.LoadKnownHosts(filepath.Join(l.keys, knownHostsFile))
	if err == nil {
		err = known.Add(trust.KnownHost{Name: "pizero2", ID: trust.HostID{2}, PublicKey: newHostKey(t, "pizero2").Public()})
	}
	if err != nil {
		t.Fatal(err)
	}
	set(exitOK, "ssl://"+name+":"+good.secure)
	l.want(exitOK, "trust", "--forget", name)
	has(t, "stderr about a broker that is nobody's", set(exitFail, "ssl://"+name+":"+good.secure), "certificate")
}

// mosquittoAt is a running mosquitto.
type mosquittoAt struct{ plain, secure string }

// startMosquitto runs mosquitto with what udpsrv trust mosquitto has written.
func startMosquitto(t *testing.T, l *laptop, state, operators string, write func(path, text string), lines string) mosquittoAt {
	t.Helper()
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		if program, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Skip("no mosquitto on this machine")
		}
	}
	write(operators, lines+"\n")
	pem, _ := l.want(exitOK, "key", "show", "--certificate")
	write(filepath.Join(state, "me.pem"), pem)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	_, secure, _ := strings.Cut(freePort(t), ":")
	_, plain, _ := strings.Cut(freePort(t), ":")
	l.want(exitOK, "trust", "mosquitto", "--dir", dir, "--host", "pizero2", "--state-dir", state, "--operators", operators, "--listen", secure+" 127.0.0.1", filepath.Join(state, "me.pem"))
	conf, err := os.ReadFile(filepath.Join(dir, "rollcall.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(conf), "listener 1883 ", "listener "+plain+" ", 1) + "user root\n"
	write(filepath.Join(dir, "test.conf"), text)
	var log strings.Builder
	cmd := exec.Command(program, "-c", filepath.Join(dir, "test.conf"))
	cmd.Stderr, cmd.Stdout = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	deadline := time.Now().Add(patience)
	for {
		c, err := bus.New(bus.Config{URL: "tcp://127.0.0.1:" + plain})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		wait, end := context.WithTimeout(ctx, patience)
		err = c.Wait(wait)
		end()
		cancel()
		<-done
		if err == nil {
			return mosquittoAt{plain, secure}
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not start: %v", err)
		}
	}
}

// The real mosquitto lets an operator do what his rights say, and nobody else in.
func TestTrustMosquitto(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	dir := t.TempDir()
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, _, err := trust.LoadOrMakeKey(filepath.Join(dir, "host_key"), "pizero2")
	if err != nil {
		t.Fatal(err)
	}
	m := startMosquitto(t, l, dir, filepath.Join(dir, "operators"), write, "control "+l.operator())
	op, err := trust.LoadKey(filepath.Join(l.keys, operatorKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	conf, err := op.ClientTLS(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan bus.Message, 10)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	own := bustest.Dial(t, "tcp://127.0.0.1:"+m.plain)
	if err := own.Subscribe(ctx, 1, func(m bus.Message) { got <- m }, "#"); err != nil {
		t.Fatal(err)
	}
	c := bustest.Run(t, bus.Config{URL: "ssl://127.0.0.1:" + m.secure, TLS: conf})
	for _, topic := range []string{"/pizero2/gpio/setup", "/pizero2/status", "/pizero1/gpio/set/x", "/pizero2/gpio/set/x", "/pizero2/set/gpio/x", "/pizero2/gpio/control", "/pizero2/gpio/get"} {
		if err := c.Publish(ctx, bus.Message{Topic: topic, Payload: []byte("1"), QoS: 1}); err != nil {
			t.Fatal(err) // mosquitto acknowledges what it drops
		}
	}
	for _, want := range []string{"/pizero2/gpio/set/x", "/pizero2/set/gpio/x", "/pizero2/gpio/control", "/pizero2/gpio/get"} {
		select {
		case m := <-got:
			if m.Topic != want {
				t.Errorf("got %s, want %s", m.Topic, want)
			}
		case <-ctx.Done():
			t.Fatal("no message")
		}
	}
	stranger, err := newHostKey(t, "x").ClientTLS(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	down := make(chan error, 10)
	s, err := bus.New(bus.Config{URL: "ssl://127.0.0.1:" + m.secure, TLS: stranger, OnDown: func(err error) { down <- err }})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()
	select {
	case <-down:
	case <-ctx.Done():
		t.Error("a stranger stays connected")
	}
	stop()
	<-done
	// A certificate of somebody who is not in authorized_operators is refused, and nothing is written.
	other := newLaptop(t)
	pem, _ := other.want(exitOK, "key", "show", "--certificate")
	write(filepath.Join(dir, "other.pem"), pem)
	empty := t.TempDir()
	_, stderr := l.want(exitFail, "trust", "mosquitto", "--dir", empty, "--state-dir", dir, "--operators", filepath.Join(dir, "operators"), filepath.Join(dir, "other.pem"))
	has(t, "stderr", stderr, "not in authorized_operators")
	if files, err := os.ReadDir(empty); err != nil || len(files) != 0 {
		t.Errorf("%v, %v were written", files, err)
	}
}

func TestEnroll(t *testing.T) {
	t.Parallel()
	l := newLaptop(t)
	line := l.operator()
	out, _ := l.want(exitOK, "enroll", "--print", "--rights", "read")
	has(t, "command", out, "echo 'read "+line+"' | sudo tee -a '/etc/rollcall/authorized_operators'")
	dir := t.TempDir()
	// What stands for ssh here runs the script on this machine; what it is given is what ssh is given.
	ssh := filepath.Join(dir, "ssh")
	bin := filepath.Join(dir, "sudo")
	if err := os.WriteFile(bin, []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ssh, []byte("#!/bin/sh\n[ \"$1\" = pi@pizero2 ] || exit 255\nshift\nPATH="+dir+":$PATH exec \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	file, state := filepath.Join(dir, "etc", "authorized_operators"), filepath.Join(dir, "state")
	key, _, err := trust.LoadOrMakeKey(filepath.Join(state, "host_key"), "pizero2")
	if err != nil {
		t.Fatal(err)
	}
	id, err := discover.LoadID(state)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time changes nothing
		_, stderr := l.want(exitOK, "enroll", "--ssh", ssh, "--file", file, "--state-dir", state, "pi@pizero2")
		has(t, "stderr", stderr, "pizero2 obeys this laptop", key.Public().Fingerprint())
	}
	all, err := trust.LoadOperators(file)
	if err != nil || len(all.All()) != 1 || all.All()[0].Line() != "read,control,setup "+line {
		t.Errorf("file has %v, %v", all.All(), err)
	}
	known, err := trust.LoadKnownHosts(filepath.Join(l.keys, knownHostsFile))
	if h, ok := known.Find("pizero2", trust.HostID(id)); err != nil || !ok || !h.Equal(key.Public()) {
		t.Errorf("known hosts are %v, %v", known.All(), err)
	}
	_, stderr := l.want(exitFail, "enroll", "--ssh", ssh, "nobody")
	has(t, "stderr", stderr, "enroll at nobody")
	l.want(exitUsage, "enroll", "--rights", "write", "pi@pizero2")
	l.want(exitUsage, "enroll", "--ssh", ssh, "-oProxyCommand=x")
}
