package lab

import (
	"strings"
	"testing"
	"time"
)

// What a neighbour can do to a host whose broker is open to the network: read, and command its services. Not throw its agents
// out, pretend that they have gone, or leave anything behind.
func TestStrangerAtAnOpenBroker(t *testing.T) {
	Need(t, "mosquitto_pub", "mosquitto_sub")
	l := NewLAN(t, 3)
	for i, listen := range []string{"0.0.0.0:1883", l.Addr(2) + ":1883"} {
		host := l.Boot(i+1, HostConfig{Listen: listen})
		name, addr := host.Name, l.Addr(i+1)
		t.Run(name+" on "+listen, func(t *testing.T) {
			want := []string{name + " " + addr + ": gpio online, hostsensor online"}
			alive := func() []string { return sweep(t, l, 3, 0, "--to", addr).names() }
			eventually(t, want, alive)
			statuses := l.Start(3, false, "stdbuf", "-oL", "mosquitto_sub", "-h", addr, "-v", "-t", "/+/+/status", "-t", "/+/status")
			statuses.WaitLine("/"+name+"/gpio/status online", patience)
			statuses.WaitLine("/"+name+"/status online", patience)
			id := strings.TrimSpace(run(t, l, i+1, "cat", host.State+"/host_id"))

			publish := func(args ...string) string {
				_, errs, status := l.Run(3, "mosquitto_pub", append([]string{"-h", addr, "-q", "1", "-t", "/" + name + "/gpio/get", "-m", ""}, args...)...)
				if status == 0 {
					return ""
				}
				return errs
			}
			if errs := publish(); errs != "" {
				t.Errorf("a command from the network is refused: %s", errs)
			}
			for what, args := range map[string][]string{
				"the monitor's client ID":        {"-i", "udpmon-" + id},
				"an agent's client ID":           {"-i", "rollcall-" + name + "-gpio"},
				"a last will on a status":        {"--will-topic", "/" + name + "/gpio/status", "--will-payload", "offline", "--will-retain"},
				"a last will on the host's":      {"--will-topic", name + "/status", "--will-payload", "offline"},
				"a last will on the map":         {"--will-topic", "/pi9", "--will-payload", "6.6.6.6"},
				"a last will below $":            {"--will-topic", "$SYS/x", "--will-payload", "x"},
				"a last will on the report list": {"--will-topic", "/udp/report", "--will-payload", "{}"},
			} {
				if errs := publish(args...); !strings.Contains(errs, "refused") && !strings.Contains(errs, "rror") {
					t.Errorf("%s: mosquitto_pub says %q, want a refusal", what, errs)
				}
			}
			// A retained command does its work once, and is no ghost for whoever comes later.
			l.Run(3, "mosquitto_pub", "-h", addr, "-q", "1", "-r", "-t", "/"+name+"/gpio/set/output/x", "-m", "ON")
			out, _, _ := l.Run(3, "mosquitto_sub", "-h", addr, "-v", "-t", "/"+name+"/gpio/set/#", "-W", "1")
			if out != "" {
				t.Errorf("a stranger's command is retained: %s", out)
			}
			eventually(t, want, alive)
			<-time.After(200 * time.Millisecond) // in which a last will that was fired would come; its absence has no event
			for _, line := range statuses.Lines() {
				if strings.HasSuffix(line, "offline") {
					t.Errorf("a client of the host was thrown out: %s", line)
				}
			}
			statuses.Kill()
		})
	}
}

func run(t testing.TB, l *LAN, i int, name string, args ...string) string {
	t.Helper()
	out, errs, status := l.Run(i, name, args...)
	if status != 0 {
		t.Fatalf("%s %v: exit status %d\n%s", name, args, status, errs)
	}
	return out
}
