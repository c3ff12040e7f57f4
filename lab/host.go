package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// HostConfig says what runs on a host of a LAN.
type HostConfig struct {
	Name      string // of the host; "" for pi<i>
	Mosquitto bool   // its broker is mosquitto on 127.0.0.1:1883 instead of the embedded one
	Listen    string // listen address of the embedded broker; "" for 127.0.0.1:1883
	Janitoo   string // listen address of the embedded broker for Janitoo's clients, beside Listen; "" for none
	Agents    string // the agents of its YAML, two spaces deep; "" for hostsensor and gpio on the in-memory chip
	Extra     string // further top-level YAML
}

// yaml returns the configuration file of a host that keeps its state in the folder.
func (c HostConfig) yaml(state string) string {
	broker := "{}"
	switch {
	case c.Mosquitto:
		broker = "{url: tcp://127.0.0.1:1883}"
	case c.Janitoo != "":
		broker = fmt.Sprintf("{listen: %q, listen_janitoo: %q}", c.Listen, c.Janitoo)
	case c.Listen != "":
		broker = fmt.Sprintf("{listen: %q}", c.Listen)
	}
	return fmt.Sprintf("host: %s\nstate_dir: %s\nbroker: %s\n%sagents:\n%s", c.Name, state, broker, c.Extra, c.Agents)
}

// Host is a host of a LAN, with what runs on it.
type Host struct {
	LAN    *LAN
	I      int
	Name   string
	File   string // its configuration
	State  string // its state folder
	Broker *Process
	Udpmon *Process
	Agentd *Process
}

// Boot starts a broker, udpmon and agentd on host i, as systemd would.
func (l *LAN) Boot(i int, c HostConfig) *Host {
	l.t.Helper()
	if c.Name == "" {
		c.Name = fmt.Sprintf("pi%d", i)
	}
	if c.Agents == "" {
		c.Agents = "  hostsensor: {}\n  gpio: {chip: sim}\n"
	}
	h := &Host{LAN: l, I: i, Name: c.Name, State: filepath.Join(l.dir, fmt.Sprintf("state-%d", i))}
	h.File = filepath.Join(l.dir, fmt.Sprintf("rollcall-%d.yaml", i))
	if err := os.WriteFile(h.File, []byte(c.yaml(h.State)), 0o644); err != nil {
		l.t.Fatal(err)
	}
	if c.Mosquitto {
		h.Broker = l.Mosquitto(i)
	}
	h.Udpmon = l.Start(i, true, "udpmon", "--config", h.File)
	h.Agentd = l.Start(i, true, "agentd", "--config", h.File)
	return h
}

// Mosquitto starts mosquitto on host i, port 1883, open to the LAN.
func (l *LAN) Mosquitto(i int) *Process {
	l.t.Helper()
	conf := filepath.Join(l.dir, fmt.Sprintf("mosquitto-%d.conf", i))
	text := "listener 1883\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
	p := l.Start(i, false, "/usr/sbin/mosquitto", "-c", conf)
	p.WaitLine("running", patience)
	return p
}

// Kill ends udpmon and agentd at once, as a power cut does; a mosquitto goes on.
func (h *Host) Kill() {
	h.Udpmon.Kill()
	h.Agentd.Kill()
}
