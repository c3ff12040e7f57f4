package discover

import (
	"encoding/json"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rollcall/reports"
)

func testPasses(t testing.TB) *Passes {
	t.Helper()
	p, err := LoadPasses(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPasses(t *testing.T) {
	t.Parallel()
	p, now := testPasses(t), time.Now()
	r := reports.Request{Cmd: "status", ReplyTo: "pibot01", Topic: "/stat/data", ID: `1241`, Seq: `"a"`}
	for _, e := range []Endpoint{{Addr: netip.MustParseAddrPort("192.168.1.7:1883")}, {Addr: netip.MustParseAddrPort("[fd00::7]:8883"), TLS: true}} {
		r.Pass = p.Issue(r, e, now)
		// The pass goes over a broker as JSON, with what the monitor adds.
		r.Monitor.Hostname, r.Monitor.IPAddr = "pizero2", "192.168.1.50"
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := reports.ParseRequest(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Open(back, now.Add(59*time.Second)); err != nil || got != e {
			t.Errorf("Open(Issue(%v)) = %v, %v", e, got, err)
		}
	}
}

func TestPassesRefuse(t *testing.T) {
	t.Parallel()
	p, now := testPasses(t), time.Now()
	e := Endpoint{Addr: netip.MustParseAddrPort("192.168.1.7:1883")}
	good := reports.Request{Cmd: "status", ReplyTo: "pibot01", Topic: "/stat/data", ID: "1241", Seq: "7"}
	good.Pass = p.Issue(good, e, now)
	if _, err := p.Open(good, now); err != nil {
		t.Fatalf("Open() of the untouched request: %v", err)
	}
	tests := []struct {
		name   string
		change func(r *reports.Request)
		at     time.Duration
		want   string
	}{
		{"no pass", func(r *reports.Request) { r.Pass = "" }, 0, "has no pass"},
		{"other cmd", func(r *reports.Request) { r.Cmd = "getapps" }, 0, "does not belong"},
		{"other replyto", func(r *reports.Request) { r.ReplyTo = "evil" }, 0, "does not belong"},
		{"other topic", func(r *reports.Request) { r.Topic = "/evil" }, 0, "does not belong"},
		{"other id", func(r *reports.Request) { r.ID = "1242" }, 0, "does not belong"},
		{"no id", func(r *reports.Request) { r.ID = "" }, 0, "does not belong"},
		{"other seq", func(r *reports.Request) { r.Seq = "8" }, 0, "does not belong"},
		{"id moved into seq", func(r *reports.Request) { r.ID, r.Seq = "12417", "" }, 0, "does not belong"},
		{"topic moved into replyto", func(r *reports.Request) { r.ReplyTo, r.Topic = "pibot01/stat", "/data" }, 0, "does not belong"},
		{"cut", func(r *reports.Request) { r.Pass = r.Pass[:20] }, 0, "wrong length"},
		{"not base64", func(r *reports.Request) { r.Pass = "!" + r.Pass[1:] }, 0, "can't be decoded"},
		{"megabyte", func(r *reports.Request) { r.Pass = strings.Repeat("A", 1<<20) }, 0, "wrong length"},
		{"old", func(*reports.Request) {}, 61 * time.Second, "1m1s old"},
		{"from the future", func(*reports.Request) {}, -6 * time.Second, "old"},
	}
	for i := range good.Pass {
		c := byte('A')
		if good.Pass[i] == c {
			c = 'B'
		}
		flipped := good
		flipped.Pass = good.Pass[:i] + string(c) + good.Pass[i+1:]
		if got, err := p.Open(flipped, now); err == nil {
			t.Errorf("Open() with byte %d of the pass changed = %v, want an error", i, got)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := good
			tt.change(&r)
			if got, err := p.Open(r, now.Add(tt.at)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open() = %v, %v, want error %q", got, err, tt.want)
			}
		})
	}
	if got, err := testPasses(t).Open(good, now); err == nil {
		t.Errorf("Open() with another key = %v, want an error", got)
	}
}

// TestSecretsAreMadeOnce starts daemons at the same moment on a fresh machine.
func TestSecretsAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state", "rollcall")
	const daemons = 32
	keys, ids := make([]string, daemons), make([]ID, daemons)
	var wg sync.WaitGroup
	for i := range daemons {
		wg.Go(func() {
			p, err := LoadPasses(dir)
			if err != nil {
				t.Error(err)
				return
			}
			keys[i] = string(p.key)
			if ids[i], err = LoadID(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i := range daemons {
		if keys[i] != keys[0] || len(keys[i]) != passKeySize || ids[i] != ids[0] || ids[i] == (ID{}) {
			t.Errorf("daemon %d has key %x and id %v, the first %x and %v", i, keys[i], ids[i], keys[0], ids[0])
		}
	}
	for name, want := range map[string]fs.FileMode{"report.key": 0o640, "host_id": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("state folder holds %v, %v, want the two files only", left, err)
	}
}

func TestSecretsRefuse(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{"empty": "", "cut": "00112233", "long": strings.Repeat("0", 66), "words": strings.Repeat("xy", 32)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			for _, file := range []string{"report.key", "host_id"} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if p, err := LoadPasses(dir); err == nil || !strings.Contains(err.Error(), "report.key: not 64 hex digits") {
				t.Errorf("LoadPasses() = %v, %v, want an error", p, err)
			}
			if id, err := LoadID(dir); err == nil || !strings.Contains(err.Error(), "host_id: not 16 hex digits") {
				t.Errorf("LoadID() = %v, %v, want an error", id, err)
			}
		})
	}
	t.Run("zero id", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "host_id"), []byte("0000000000000000\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if id, err := LoadID(dir); err == nil || !strings.Contains(err.Error(), "all zeros") {
			t.Errorf("LoadID() = %v, %v, want an error", id, err)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "report.key"), 0o700); err != nil { // root may read any file, but no folder as one
			t.Fatal(err)
		}
		if p, err := LoadPasses(dir); err == nil || !strings.Contains(err.Error(), "report.key (every daemon of the host must be able to)") {
			t.Errorf("LoadPasses() = %v, %v, want an error", p, err)
		}
	})
	t.Run("no folder", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := LoadPasses(filepath.Join(file, "state")); err == nil {
			t.Errorf("LoadPasses() below a file = %v, want an error", p)
		}
	})
}
