package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLogs follows a service over TLS for an operator who may do nothing but read. The host's log topics are switched off.
func TestLogs(t *testing.T) {
	Need(t, "mosquitto_pub")
	l := NewLAN(t, 2)
	key, _, _ := l.Run(2, "udpsrv", "key", "show")
	file := filepath.Join(l.dir, "operators")
	if err := os.WriteFile(file, []byte("read "+key), 0o644); err != nil {
		t.Fatal(err)
	}
	l.Boot(1, HostConfig{Extra: "discovery: {authorized_operators: " + file + "}\n"})
	until(t, "the host is trusted", func() bool { _, _, status := l.Run(2, "udpsrv", "trust", "--yes", "pi1"); return status == 0 })
	out, stderr, status := l.Run(2, "udpsrv", "logs", "pi1/gpio")
	for _, want := range []string{"info   set-up of the configuration is in force lines=0\n", "info   status status=online\n", " status online\n"} {
		if !strings.Contains(out, want) || status != 0 {
			t.Errorf("status %d; no %q in\n%s%s", status, want, out, stderr)
		}
	}
	follow := l.Start(2, false, "env", "XDG_CACHE_HOME="+filepath.Join(l.dir, "cache-2"), "XDG_CONFIG_HOME="+filepath.Join(l.dir, "config-2"),
		filepath.Join(Binaries(t), "udpsrv"), "logs", "-f", "pi1/gpio")
	follow.WaitLine("status online", 3*patience)
	l.sh(1, "mosquitto_pub -t /pi1/gpio/setup -m 'outputs: {led: {pin: 17}}'")
	follow.WaitLine("info   set up points=", 3*patience)
	follow.WaitLine("result ok=true verb=setup", 3*patience)
	follow.Stop()
}
