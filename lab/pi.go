package lab

import (
	"fmt"
	"os/exec"
	"strings"

	"rollcall/lab/uml"
)

// Pi boots a virtual Pi as host i of the LAN, which must not be one of its plain hosts, with this checkout's programs.
func (l *LAN) Pi(i int, o uml.PiOptions) *uml.Pi {
	l.t.Helper()
	uml.Kernel(l.t)
	if i <= l.Hosts {
		l.t.Fatalf("host %d is a plain host", i)
	}
	if o.Name == "" {
		o.Name = fmt.Sprintf("pi%d", i)
	}
	o.Netns, o.Tap, o.Addr, o.Programs = l.name+"-sw", fmt.Sprintf("t%d", i), fmt.Sprintf("%s/%d", l.Addr(i), l.Bits), Binaries(l.t)
	for _, line := range []string{"tuntap add %s mode tap", "link set %s master br0 up"} {
		args := append([]string{"-n", o.Netns}, strings.Fields(fmt.Sprintf(line, o.Tap))...)
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			l.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	return uml.NewPi(l.t, o) // its tap goes with the LAN's namespace
}

// PiHost is a virtual Pi with what runs on it.
type PiHost struct {
	*uml.Pi
	Name   string
	Udpmon *uml.Program
	Agentd *uml.Program
}

// The files of a PiHost are on its disk.
const (
	piConfig = uml.DiskDir + "/rollcall.yaml"
	piState  = uml.DiskDir + "/state"
)

// BootPi boots a virtual Pi as host i and starts udpmon and agentd on it, as systemd would, with their state on its disk. Without
// agents in the configuration it has a hostsensor and gpio on its header.
func (l *LAN) BootPi(i int, c HostConfig) *PiHost {
	l.t.Helper()
	if c.Name == "" {
		c.Name = fmt.Sprintf("pi%d", i)
	}
	if c.Agents == "" {
		c.Agents = "  hostsensor: {}\n  gpio: {}\n"
	}
	h := &PiHost{Pi: l.Pi(i, uml.PiOptions{Name: c.Name}), Name: c.Name}
	h.WriteFile(piConfig, []byte(c.yaml(piState)))
	h.StartHost()
	return h
}

// StartHost starts udpmon and agentd, after a boot or when they have ended.
func (h *PiHost) StartHost() {
	h.Udpmon = h.Start(true, "udpmon", "--config", piConfig)
	h.Agentd = h.Start(true, "agentd", "--config", piConfig)
}

// CutAndBoot takes the power away, brings it back, and starts what ran.
func (h *PiHost) CutAndBoot() {
	h.PowerCut()
	h.Boot()
	h.StartHost()
}
