package agents

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"rollcall/reports"
)

// nutDeadline is how long a test waits for what should be there in an instant.
const nutDeadline = 10 * time.Second

// nutDeb is where Debian keeps the programs; what stands in the PATH there is a script that starts nothing by default.
const nutDeb = "/lib/nut"

// nutUser and nutSecret are a login of the real upsd: with everything in it that has to be quoted.
const (
	nutUser   = "monitor"
	nutSecret = `se cret"\x#`
)

// nutServer is a real upsd with dummy-ups, on loopback, with a folder of its own.
type nutServer struct {
	t      *testing.T
	dir    string
	port   string
	conf   string // of upsd.conf, beside where it listens
	upsd   *nutProcess
	driver *nutProcess
	says   time.Duration // how often the UPS has said something else
}

// nutProcess is a program that the test has started.
type nutProcess struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan struct{}
}

// startUPSD starts upsd and a UPS named dummy. Where they are not installed the test is skipped, or fails if it must not be.
func startUPSD(t *testing.T) *nutServer {
	t.Helper()
	s := newNUTServer(t)
	s.startDriver()
	s.start()
	return s
}

// nutNeeds skips the test without the program, or fails where it must not be skipped.
func nutNeeds(t *testing.T, path, debian string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("ROLLCALL_LAB") == "1" {
			t.Fatalf("%v; apt-get install %s", err, debian)
		}
		t.Skipf("%v; to run it: apt-get install %s", err, debian)
	}
}

// newNUTServer makes the folder of an upsd with a UPS named dummy, and starts nothing.
func newNUTServer(t *testing.T) *nutServer {
	t.Helper()
	for _, p := range []string{"upsd", "dummy-ups"} {
		nutNeeds(t, filepath.Join(nutDeb, p), "nut-server")
	}
	dir, err := os.MkdirTemp("", "nut") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) }) // a leftover in the temporary folder harms nobody
	s := &nutServer{t: t, dir: dir}
	s.write("ups.conf", "maxretry = 1\npollinterval = 1\n[dummy]\n driver = dummy-ups\n port = ups.dev\n mode = dummy-once\n desc = \"a \\\"UPS\\\"\"\n")
	s.write("upsd.users", fmt.Sprintf("[%s]\n password = %s\n upsmon secondary\n", nutUser, nutQuote(nutSecret)))
	s.set("OL CHRG", "100")
	return s
}

func (s *nutServer) write(name, text string) {
	s.t.Helper()
	s.writeAt(time.Now(), name, text)
}

func (s *nutServer) writeAt(at time.Time, name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chtimes(path+".new", at, at); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil { // the driver never sees half of it
		s.t.Fatal(err)
	}
}

// set makes the UPS say something else; the driver sees that the file is newer, by a whole second as it counts.
func (s *nutServer) set(status, charge string) {
	s.t.Helper()
	s.says += time.Second
	s.writeAt(time.Now().Add(s.says), "ups.dev", "ups.status: "+status+"\nbattery.charge: "+charge+"\nbattery.voltage: 13.70\nbattery.runtime: 1800\nbattery.type: PbAc\n"+
		"ups.load: 12.5\nups.mfr: \"Acme \\\"Power\\\"\"\nups.model: Back\n")
}

// run starts a program of NUT.
func (s *nutServer) run(program string, args ...string) *nutProcess {
	s.t.Helper()
	me, err := user.Current()
	if err != nil {
		s.t.Fatal(err)
	}
	p := &nutProcess{done: make(chan struct{})}
	p.cmd = exec.Command(filepath.Join(nutDeb, program), append(args, "-F", "-u", me.Username)...)
	p.cmd.Env = append(os.Environ(), "NUT_CONFPATH="+s.dir, "NUT_STATEPATH="+s.dir, "NUT_ALTPIDPATH="+s.dir)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { defer close(p.done); _ = p.cmd.Wait() }() // it is killed: how it ends says nothing
	s.t.Cleanup(p.kill)
	return p
}

// kill ends the program and waits for its end.
func (p *nutProcess) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// startDriver starts dummy-ups and waits for its socket.
func (s *nutServer) startDriver() {
	s.t.Helper()
	socket := filepath.Join(s.dir, "dummy-ups-dummy")
	_ = os.Remove(socket) // of a driver that was killed
	s.driver = s.run("dummy-ups", "-a", "dummy")
	nutUntil(s.t, s.driver, func() error { _, err := os.Stat(socket); return err })
}

// start starts upsd on its port and waits until it answers for the UPS.
func (s *nutServer) start() {
	s.t.Helper()
	if s.port == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		s.port = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		if err := l.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	s.write("upsd.conf", "LISTEN 127.0.0.1 "+s.port+"\n"+s.conf)
	s.upsd = s.run("upsd")
	nutUntil(s.t, s.upsd, func() error {
		c := newNUTClient(nutOptions{Address: s.address(), UPS: "dummy"}, new(net.Dialer).DialContext)
		defer c.close()
		vars, err := c.list(s.t.Context())
		if err == nil && vars["ups.status"] == "" {
			err = fmt.Errorf("variables %v", vars)
		}
		return err
	})
}

func (s *nutServer) address() string { return "127.0.0.1:" + s.port }

// nutUntil waits until f returns no error, or the program has ended.
func nutUntil(t *testing.T, p *nutProcess, f func() error) {
	t.Helper()
	late, again := time.NewTimer(nutDeadline), time.NewTicker(20*time.Millisecond)
	defer late.Stop()
	defer again.Stop()
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s has ended: %v\n%s", p.cmd, err, &p.out)
		case <-late.C:
			t.Fatalf("%s: still %v", p.cmd, err)
		case <-again.C:
		}
	}
}

// agent makes the agent with the options.
func (s *nutServer) agent(o nutOptions) (*nut, error) {
	if o.Address == "" {
		o.Address = s.address()
	}
	o.Poll = reports.Duration(time.Second)
	if err := o.Validate(); err != nil {
		return nil, err
	}
	n, err := newNUT(o, newNUTClient(o, new(net.Dialer).DialContext))
	if err == nil {
		s.t.Cleanup(func() { _ = n.Close() })
	}
	return n, err
}

// must is agent where it has to work.
func (s *nutServer) must(o nutOptions) *nut {
	s.t.Helper()
	n, err := s.agent(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// nutPaths are the points that can be read.
func nutPaths(n *nut) []string {
	var out []string
	for _, p := range n.Describe().Points {
		if p.Access.Has(reports.Get) {
			out = append(out, p.Path)
		}
	}
	return out
}

// read reads all points.
func (s *nutServer) read(n *nut) (map[string]any, error) {
	readings, err := n.SampleAll(s.t.Context(), nutPaths(n))
	out := map[string]any{}
	for _, r := range readings {
		out[r.Path] = r.Value
	}
	return out, err
}

// TestNUTReal and TestNUTRealLost go through what can happen to a real UPS and its upsd. They are few, because a driver and upsd
// need three seconds to find each other.
func TestNUTReal(t *testing.T) {
	t.Parallel()
	s := startUPSD(t)
	nutValues(t, s)
	nutOnBattery(t, s)
	nutForcedShutdown(t, s)
}

func TestNUTRealLost(t *testing.T) {
	t.Parallel()
	s := startUPSD(t)
	nutLogin(t, s)
	nutKilledAndBack(t, s)
	nutDriverLost(t, s)
}

func nutValues(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{}) // upsd says itself which UPS it has
	got, err := s.read(n)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"battery/charge": 100.0, "battery/voltage": 13.7, "battery/runtime": int64(1800), "battery/chemistry": "PbAc", "ups/load": 12.5,
		"ups/status": "OL CHRG", "ups/text": "on line power, charging", "ups/manufacturer": `Acme "Power"`,
		"flag/on_line": true, "flag/charging": true, "flag/on_battery": false, "flag/low_battery": false, "flag/overloaded": false,
	} {
		if got[path] != want {
			t.Errorf("%s = %v, want %v", path, got[path], want)
		}
	}
	if _, ok := got["input/voltage"]; ok {
		t.Error("there is a point for a variable that the UPS has not")
	}
	service := n.Describe()
	service.Name = "nut"
	if err := service.Validate(); err != nil || service.Simulated {
		t.Errorf("service: %v, simulated %v", err, service.Simulated)
	}
	if _, err := s.agent(nutOptions{UPS: "other"}); err == nil || !strings.Contains(err.Error(), `UNKNOWN-UPS: upsd has no UPS "other"`) {
		t.Errorf("a UPS that is not there: %v", err)
	}
}

// A change of the UPS is seen at the next poll after its driver has seen it, and told once as an event.
func nutOnBattery(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{})
	for _, step := range []struct {
		status, charge string
		events         []reports.Reading
	}{
		{"OB DISCHRG", "60", []reports.Reading{{Path: "on_battery", Value: true}}},
		{"OB DISCHRG LB", "15", []reports.Reading{{Path: "low_battery", Value: true}}},
		{"OL CHRG", "20", []reports.Reading{{Path: "on_battery", Value: false}, {Path: "low_battery", Value: false}}},
	} {
		s.set(step.status, step.charge)
		polls := 0
		nutUntil(t, s.driver, func() error {
			got, err := s.read(n)
			polls++
			if err == nil && got["ups/status"] != step.status {
				err = fmt.Errorf("status %v, want %s", got["ups/status"], step.status)
			}
			if on := nutHas(step.status, "OB"); err == nil && (got["flag/on_battery"] != on || got["flag/on_line"] == on) {
				t.Errorf("%s: on battery %v, on line %v", step.status, got["flag/on_battery"], got["flag/on_line"])
			}
			return err
		})
		for _, want := range step.events { // they are there when the poll that saw the change has returned
			select {
			case got := <-n.Events():
				if got.Path != want.Path || got.Value != want.Value || got.Time.IsZero() {
					t.Errorf("%s: event %+v, want %+v", step.status, got, want)
				}
			default:
				t.Errorf("%s: no event %s", step.status, want.Path)
			}
		}
		if len(n.Events()) > 0 {
			t.Errorf("%s: one event more, %+v", step.status, <-n.Events())
		}
	}
}

func nutKilledAndBack(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{UPS: "dummy", Username: nutUser, PasswordFile: filepath.Join(s.dir, "password")})
	if _, err := s.read(n); err != nil {
		t.Fatal(err)
	}
	s.upsd.kill()
	for range 2 {
		if got, err := s.read(n); err == nil || len(got) > 0 || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("without upsd: %v, %v", got, err)
		}
	}
	if _, err := s.agent(nutOptions{}); err == nil || !strings.Contains(err.Error(), "LISTEN") {
		t.Errorf("a start without upsd: %v", err)
	}
	s.start()
	if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" {
		t.Errorf("upsd is back: %v, %v", got, err)
	}
	// Started anew between two polls: the poll after it finds the connection closed, and makes another one. The password is
	// another one by now: that is told, and cured when the file has it.
	s.upsd.kill()
	s.write("upsd.users", "[monitor]\n password = new\n upsmon secondary\n")
	s.start()
	if _, err := s.read(n); err == nil || !strings.Contains(err.Error(), "ACCESS-DENIED") {
		t.Errorf("the password has changed: %v", err)
	}
	s.write("password", "new")
	if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" {
		t.Errorf("the file has the new password: %v, %v", got, err)
	}
}

// nutDriverLost kills the driver alone: upsd answers, and has nothing to say.
func nutDriverLost(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{})
	s.driver.kill()
	nutUntil(t, s.upsd, func() error {
		got, err := s.read(n)
		if err == nil {
			return fmt.Errorf("the driver is gone, and there is %v", got)
		}
		if len(got) > 0 || !strings.Contains(err.Error(), "nut-driver@dummy") {
			t.Errorf("the driver is gone: %v, %v", got, err)
		}
		return nil
	})
	s.startDriver()
	nutUntil(t, s.upsd, func() error { _, err := s.read(n); return err })
}

func nutLogin(t *testing.T, s *nutServer) {
	t.Helper()
	file := filepath.Join(s.dir, "password")
	s.write("password", nutSecret+"\n")
	n := s.must(nutOptions{UPS: "dummy", Username: nutUser, PasswordFile: file})
	if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" {
		t.Errorf("with a login: %v, %v", got, err)
	}
	if got := s.logins(); got != 1 {
		t.Errorf("upsd counts %d logins, want 1", got)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	nutUntil(t, s.upsd, func() error {
		if got := s.logins(); got != 0 {
			return fmt.Errorf("after Close upsd counts %d logins", got)
		}
		return nil
	})
	for name, o := range map[string]nutOptions{
		"password": {Username: nutUser, Password: "wrong"}, "user": {Username: "nobody", Password: nutSecret},
	} {
		if _, err := s.agent(o); err == nil || !strings.Contains(err.Error(), "login: upsd says ACCESS-DENIED: the password or the user") ||
			strings.Contains(err.Error(), "wrong\"") || strings.Contains(err.Error(), nutSecret) {
			t.Errorf("wrong %s: %v", name, err)
		}
	}
}

// logins asks upsd how many clients have logged in for the UPS.
func (s *nutServer) logins() int {
	s.t.Helper()
	c := newNUTClient(nutOptions{Address: s.address(), UPS: "dummy"}, new(net.Dialer).DialContext)
	defer c.close()
	if _, err := c.list(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), nutDeadline)
	defer cancel()
	var words []string
	if err := c.during(ctx, func() (err error) {
		if err = c.send("GET NUMLOGINS dummy"); err == nil {
			words, err = c.receive()
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// When the primary shuts down, whoever has logged in must be gone, or it waits for them.
func nutForcedShutdown(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{Username: nutUser, Password: nutSecret})
	s.set("OB LB FSD", "5")
	nutUntil(t, s.upsd, func() error {
		got, err := s.read(n)
		if err == nil && got["flag/forced_shutdown"] != true {
			err = fmt.Errorf("status %v", got["ups/status"])
		}
		return err
	})
	nutUntil(t, s.upsd, func() error {
		if got := s.logins(); got != 0 {
			return fmt.Errorf("upsd counts %d logins", got)
		}
		return nil
	})
}
