package agents

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"rollcall/reports"
)

// nutDeadline is how long a test waits for what should be there in an instant.
const nutDeadline = time.Minute

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
