package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/lab"
)

// reloads is how a reader has udpmon read its files again.
const reloads = "sudo systemctl reload udpmon"

// elsewhere are the lines that are not run here, and what runs them.
var elsewhere = map[string]string{
	"make test": "it would run itself; .ci/run runs it before this test",
	"sudo systemctl enable --now udpmon agent@hostsensor": "needs a system that systemd booted; lab/uml boots one",
	"sudo systemctl restart udpmon":                       "needs a system that systemd booted; lab/uml boots one",
	"sudo systemctl enable --now agent@gpio":              "needs a system that systemd booted; lab/uml boots one",
	reloads:                                               "needs a system that systemd booted; run sends the signal itself",
	"sudo systemctl restart mosquitto":                    "needs a system that systemd booted; TestTrustMosquitto starts mosquitto",
	"sudo udpsrv trust mosquitto alice.pem":               "would write to this machine's /etc/mosquitto; TestTrustMosquitto runs it elsewhere",
}

// TestShellLines runs every shell block of the documents, in order, as their reader would: on a laptop, in a network with a
// host called pizero2 whose broker is open to it.
func TestShellLines(t *testing.T) {
	lab.Need(t, "mosquitto", "mosquitto_pub", "mosquitto_rr", "nc", "bash", "jq", "python3")
	for _, doc := range documents(t) {
		all := blocks(t, doc, "sh")
		if len(all) == 0 {
			continue
		}
		t.Run(filepath.Base(doc), func(t *testing.T) {
			l := lab.NewLAN(t, 2)
			agents, faces, janitoo := "  hostsensor: {}\n  gpio: {chip: sim, outputs: {led: {pin: 17}}}\n", "", ""
			if filepath.Base(doc) == "janitoo-tutorial.md" { // its host is what its blocks say
				agents, faces, janitoo = strings.Replace(agents, "17", "17, as: led", 1), blocks(t, doc, "yaml")[1].text, "0.0.0.0:1884"
			}
			r := reader{t: t, lan: l, dir: t.TempDir(), top: filepath.Join(t.TempDir(), "rollcall")}
			r.host = l.Boot(1, lab.HostConfig{Name: "pizero2", Listen: "0.0.0.0:1883", Janitoo: janitoo, Agents: agents,
				Extra: "discovery: {authorized_operators: " + r.dir + operators + "}\n" + faces})
			l.Mosquitto(2) // the laptop's own broker, for answers in the original form
			r.names()
			r.checkout()
			for i, b := range all {
				r.run(i+1, b)
			}
		})
	}
}

// operators is where a host finds its operators.
const operators = "/etc/rollcall/authorized_operators"

// reader is somebody who types what stands in a document.
type reader struct {
	t    *testing.T
	lan  *lab.LAN
	dir  string // where the laptop's commands are typed
	top  string // a clean checkout
	host *lab.Host
}

// names makes the name pizero2 known in both namespaces (ip-netns(8) binds /etc/netns/NAME/* over /etc).
func (r *reader) names() {
	for i := 1; i <= 2; i++ {
		dir := filepath.Join("/etc/netns", r.lan.NS(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { os.RemoveAll(dir) })
		hosts := "127.0.0.1 localhost\n" + r.lan.Addr(1) + " pizero2\n"
		if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
}

// checkout copies what git would give a new user, uncommitted changes included.
func (r *reader) checkout() {
	script := fmt.Sprintf("cd .. && mkdir -p %[1]s && git ls-files -co --exclude-standard -z | xargs -0 cp --parents -t %[1]s", r.top)
	if out, err := exec.Command("bash", "-c", script).CombinedOutput(); err != nil {
		r.t.Fatalf("checkout: %v\n%s", err, out)
	}
}

func (r *reader) run(n int, b block) {
	r.t.Helper()
	var lines []string
	for line := range strings.Lines(b.text) {
		if _, other := elsewhere[strings.TrimSpace(line)]; !other {
			lines = append(lines, strings.Replace(line, "sudo ", "", 1))
		}
	}
	text := "set -eo pipefail\n" + strings.Join(lines, "")
	host, dir := 2, r.dir
	if b.note != "on: install" {
		text = strings.ReplaceAll(text, "/etc/rollcall", r.dir+"/etc/rollcall")
	}
	switch {
	case b.note == "on: install":
		dir = r.top
		root := filepath.Join(r.dir, "root")
		text = strings.ReplaceAll(text, "make install", "make install DESTDIR="+root)
		text = strings.ReplaceAll(text, "/etc/rollcall", root+"/etc/rollcall")
	case strings.Contains(text, "make ") || strings.Contains(text, "go test"):
		dir = r.top
	case strings.HasPrefix(b.note, "on: pizero2"):
		host = 1
	}
	script := filepath.Join(r.t.TempDir(), "block.sh")
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		r.t.Fatal(err)
	}
	// /usr/bin before what may stand for python3 elsewhere: Debian's has Debian's modules.
	path := "PATH=" + filepath.Join(r.dir, "root/usr/local/bin") + ":" + lab.Binaries(r.t) + ":/usr/bin:" + os.Getenv("PATH")
	// The Go caches are the machine's, as a user's would be; udpsrv's own is not.
	env := []string{"-C", dir, path, "XDG_CACHE_HOME=" + filepath.Join(r.dir, "cache"), "XDG_CONFIG_HOME=" + filepath.Join(r.dir, "config"), "GOCACHE=" + goenv(r.t, "GOCACHE")}
	args := append(slices.Clone(env), "bash", script)
	if _, topic, ok := strings.Cut(b.note, "in the background until "); ok {
		r.lan.Start(host, false, "env", args...) // ends with the test
		if out, err := r.lan.Command(host, "mosquitto_sub", "-t", strings.TrimSpace(topic), "-C", "1", "-W", "30").CombinedOutput(); err != nil {
			r.t.Fatalf("block %d: nothing on %s: %v\n%s", n, topic, err, out)
		}
		r.sees(env, strings.Split(topic, "/")[2])
		return
	}
	cmd := r.lan.Command(host, "env", args...)
	timer := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	if strings.Contains(b.text, reloads) {
		if err := r.host.Udpmon.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
			r.t.Fatal(err)
		}
		r.host.Udpmon.WaitLine("new configuration in force", time.Minute)
	}
	r.t.Logf("block %d:\n%s%s", n, text, out)
	if (err != nil) != (b.note == "fails") {
		r.t.Errorf("block %d ended with %v", n, err)
	}
}

// sees sweeps until the host says that it has the service, which it does a moment after its broker knows.
func (r *reader) sees(env []string, service string) {
	r.t.Helper()
	var out []byte
	for until := time.Now().Add(time.Minute); time.Now().Before(until); {
		sweep := append(slices.Clone(env), "udpsrv", "sweep", "--want", "service="+service)
		if out, _ = r.lan.Command(2, "env", sweep...).CombinedOutput(); strings.Contains(string(out), "1 host, ") {
			return
		}
	}
	r.t.Fatalf("nobody says that he has %s:\n%s", service, out)
}

func goenv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
