package agents

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rollcall/config"
	"rollcall/reports"
)

const hostsensorWeb = "{processes: {web: {pid_file: /run/web.pid, command: web}}}"

// runs puts a process in the tree, as proc(5) has it: so many ticks, threads and open files.
func (b *hostsensorBoard) runs(pid int, comm, state string, utime, stime, threads, start, fds int) {
	b.t.Helper()
	b.write(fmt.Sprintf("proc/%d/stat", pid), fmt.Sprintf("%d (%s) %s 1 %d %d 0 -1 1077936384 2210 0 12 0 %d %d 0 0 20 0 %d 0 %d 1262321664 100 "+
		"18446744073709551615 65536 6291456 549754195488 0 0 0 0 0 2143420159 0 0 0 17 2 0 0 0 0 0 0 0 0 0 0 0 0 0\n", pid, comm, state, pid, pid, utime, stime, threads, start))
	dir := filepath.Join(b.root, "proc", fmt.Sprint(pid), "fd")
	if err := os.RemoveAll(dir); err != nil {
		b.t.Fatal(err)
	}
	for n := range fds {
		b.write(fmt.Sprintf("proc/%d/fd/%d", pid, n), "")
	}
}

func TestHostsensorProcess(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi4")
	b.write("run/web.pid", "4711\n")
	b.runs(4711, "web", "S", 300, 100, 7, 5000, 3)
	h := b.open(hostsensorWeb)
	service := h.Describe()
	service.Name = "hostsensor"
	if err := service.Validate(); err != nil {
		t.Error(err)
	}
	if p, ok := service.Point("processes/web/cpu_percent"); !ok || p.Max != nil || p.Unit != "%" || p.Type != reports.Float {
		t.Errorf("point %+v", p)
	}
	want := func(when, running, memory, cpu, threads, fds string) {
		t.Helper()
		for path, want := range map[string]string{"running": running, "memory": memory, "cpu_percent": cpu, "threads": threads, "fds": fds} {
			if got := hostsensorValue(t, h, "processes/web/"+path); got != want && (!strings.HasPrefix(want, "error") || !strings.Contains(got, want[len("error: "):])) {
				t.Errorf("%s: %s = %s, want %s", when, path, got, want)
			}
		}
	}
	memory := fmt.Sprint(100 * os.Getpagesize())
	want("at first", "ON", memory, "0 stale", "7", "3")
	b.at = b.at.Add(10 * time.Second)
	b.runs(4711, "web", "R", 800, 625, 8, 5000, 4) // 10.25 s of 10 s
	want("busy", "ON", memory, "102.5", "8", "4")
	b.at = b.at.Add(10 * time.Second)
	want("idle", "ON", memory, "0", "8", "4")

	b.runs(4711, "other", "R", 9000, 0, 1, 9999, 1)
	const gone = "error: the process is not running: "
	named := gone + `/run/web.pid has 4711, which is "other", not "web"`
	want("its number has another", "OFF", named, named, named, named)

	b.runs(4711, "web", "S", 5, 5, 7, 12000, 3)
	b.at = b.at.Add(10 * time.Second)
	want("started anew", "ON", memory, "0 stale", "7", "3")
	b.at = b.at.Add(10 * time.Second)
	b.runs(4711, "web", "S", 15, 15, 7, 12000, 3)
	want("and worked", "ON", memory, "2", "7", "3")

	b.runs(4711, "web", "Z", 15, 15, 1, 12000, 0)
	want("zombie", "OFF", gone+"process 4711 has ended", gone, gone, gone)
	b.write("run/web.pid", "4712\n")
	want("stale pid file", "OFF", gone+"/run/web.pid has 4712, which is no process", gone, gone, gone)
	b.write("run/web.pid", "none\n")
	const wrong = `error: /run/web.pid: "none" is not the number of a process`
	want("no number", wrong, wrong, wrong, wrong, wrong)
	if err := os.Remove(filepath.Join(b.root, "run/web.pid")); err != nil {
		t.Fatal(err)
	}
	want("no pid file", "OFF", gone+"open ", gone, gone, gone)
	b.write("run/web.pid", " 4711 \nsecond line\n")
	b.runs(4711, "web", "S", 15, 15, 7, 13000, 3)
	want("back", "ON", memory, "0 stale", "7", "3")
}

// A pid file belongs to the daemon that writes it, and may be anything. Nothing of that holds the agent up, or makes it read a number
// that is not there.
func TestHostsensorHostilePIDFile(t *testing.T) {
	t.Parallel()
	b := newHostsensorBoard(t, "pi4")
	b.runs(4711, "web", "S", 300, 100, 7, 5000, 3)
	file := filepath.Join(b.root, "run/web.pid")
	b.write("run/web.pid", "4711\n")
	h := b.open(hostsensorWeb)
	for name, c := range map[string]struct {
		make func() error
		want string
	}{
		"a pipe that nobody writes": {func() error { return syscall.Mkfifo(file, 0o600) }, "is not a regular file"},
		"a folder":                  {func() error { return os.Mkdir(file, 0o700) }, "is not a regular file"},
		"a device":                  {func() error { return os.Symlink("/dev/zero", file) }, "is not a regular file"},
		"a link to itself":          {func() error { return os.Symlink("web.pid", file) }, "too many levels"},
		"a megabyte":                {func() error { return os.WriteFile(file, bytes.Repeat([]byte("4"), 1<<20), 0o600) }, "it is longer than 4096 bytes"},
		"a number beyond the read":  {func() error { return os.WriteFile(file, []byte(strings.Repeat(" ", 4092)+"471199"), 0o600) }, "it is longer than 4096 bytes"},
		"zero bytes":                {func() error { return os.WriteFile(file, make([]byte, 64), 0o600) }, "is not the number of a process"},
		"nothing":                   {func() error { return os.WriteFile(file, nil, 0o600) }, "is not the number of a process"},
		"negative":                  {func() error { return os.WriteFile(file, []byte("-4711"), 0o600) }, "is not the number of a process"},
		"two numbers":               {func() error { return os.WriteFile(file, []byte("4711 4711"), 0o600) }, "is not the number of a process"},
	} {
		if err := errors.Join(os.RemoveAll(file), c.make()); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, tail := range []string{"running", "memory"} {
			said := make(chan string, 1)
			go func() { said <- hostsensorValue(t, h, "processes/web/"+tail) }()
			select {
			case got := <-said:
				if !strings.HasPrefix(got, "error") || !strings.Contains(got, c.want) {
					t.Errorf("%s: %s = %s, want an error with %q", name, tail, got, c.want)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s: %s is still being read", name, tail)
			}
		}
	}
}

// This very process, by the real /proc.
func TestHostsensorThisProcess(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "test.pid")
	if err := os.WriteFile(file, []byte(fmt.Sprintln(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := iioStart(t, hostsensorFactory(), "processes: {me: {pid_file: "+file+"}}", Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for path, least := range map[string]int64{"memory": 1 << 20, "threads": 2, "fds": 3} {
		r, err := a.(Sampler).Sample(t.Context(), "processes/me/"+path)
		if n, ok := r.Value.(int64); err != nil || !ok || n < least {
			t.Errorf("%s is %v, %v, want %d or more", path, r.Value, err, least)
		}
	}
	if r, err := a.(Sampler).Sample(t.Context(), "processes/me/running"); err != nil || r.Value != true {
		t.Errorf("running is %v, %v", r.Value, err)
	}
}

func TestHostsensorBadProcesses(t *testing.T) {
	t.Parallel()
	for options, want := range map[string]string{
		"processes: {web: {pid_file: web.pid}}":                       `o:1: processes.web.pid_file: "web.pid" is not an absolute path`,
		"processes:\n  web: {}":                                       `o:2: processes.web.pid_file: "" is not an absolute path`,
		"processes: {a/b: {pid_file: /run/a}}":                        `name "a/b": only A-Z`,
		"processes: {web: {pid_file: /x, command: systemd-networkd}}": `o:1: processes.web.command: "systemd-networkd" is longer than the 15 characters that the kernel keeps: "systemd-network"`,
		"processes: {web: {pid: /x}}":                                 `o:1: processes.web.pid: unknown key`,
	} {
		node, err := config.ParseNode("o", []byte(options))
		if err == nil {
			err = node.Decode(hostsensorFactory().Defaults())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("options %q: error %v, want %s", options, err, want)
		}
	}
}

func FuzzHostsensorPID(f *testing.F) {
	for _, s := range []string{"1", " 12\n", "12\n13", "-1", "0", "", "4294967296", "0x10", "1 2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := hostsensorPID(s, nil); err == nil && (n < 1 || !strings.Contains(s, strings.TrimLeft(fmt.Sprint(n), "0"))) {
			t.Errorf("%q is %d", s, n)
		}
	})
}
