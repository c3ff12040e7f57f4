package agents

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sys/unix"

	"rollcall/config"
	"rollcall/reports"
)

// hostsensorBoard is a fixture tree, with the agent's seam and a clock that only moves when it is told.
type hostsensorBoard struct {
	t    *testing.T
	root string
	want []string
	at   time.Time
	disk map[string]unix.Statfs_t
}

func newHostsensorBoard(t *testing.T, name string) *hostsensorBoard {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "hostsensor_"+name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	b := &hostsensorBoard{t: t, root: t.TempDir(), at: time.Unix(1_750_000_000, 0), disk: map[string]unix.Statfs_t{
		// A card of 32 GB as df shows it, and its boot partition; any other is 1,000 blocks.
		"/":              {Bsize: 4096, Blocks: 7633920, Bfree: 5680000, Bavail: 5371093},
		"/boot/firmware": {Bsize: 2048, Blocks: 261116, Bfree: 223744, Bavail: 223744},
	}}
	if name != "pi4" {
		b.disk = nil
	}
	for _, f := range archive.Files {
		switch f.Name {
		case "links":
			for line := range strings.Lines(string(f.Data)) {
				at, to, _ := strings.Cut(strings.TrimSpace(line), " ")
				b.mkdir(at)
				if err := os.Symlink(to, filepath.Join(b.root, at)); err != nil {
					t.Fatal(err)
				}
			}
		case "want":
			b.want = strings.Split(strings.TrimSpace(string(f.Data)), "\n")
		default:
			b.write(f.Name, string(f.Data))
		}
	}
	return b
}

func (b *hostsensorBoard) mkdir(name string) {
	b.t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(b.root, name)), 0o755); err != nil {
		b.t.Fatal(err)
	}
}

func (b *hostsensorBoard) write(name, data string) {
	b.t.Helper()
	b.mkdir(name)
	if err := os.WriteFile(filepath.Join(b.root, name), []byte(data), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// edit replaces text in a file of the tree and checks that it was there.
func (b *hostsensorBoard) edit(name string, oldnew ...string) {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.root, name))
	if err != nil {
		b.t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			b.t.Fatalf("%s has no %q", name, oldnew[i])
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	b.write(name, text)
}

func (b *hostsensorBoard) statfs(path string, st *unix.Statfs_t) error {
	mount, ok := strings.CutPrefix(path, b.root)
	if !ok {
		return syscall.ENOENT
	}
	if mount == "" {
		mount = "/"
	}
	if *st, ok = b.disk[mount]; !ok {
		*st = unix.Statfs_t{Bsize: 4096, Blocks: 1000, Bfree: 700, Bavail: 500}
	}
	return nil
}

// open makes the agent with options in YAML over the defaults.
func (b *hostsensorBoard) open(options string) *hostsensor {
	b.t.Helper()
	h, err := newHostsensor(*hostsensorTestOptions(b.t, options), Deps{Root: b.root},
		hostsensorSeam{b.statfs, func() time.Time { return b.at }})
	if err != nil {
		b.t.Fatal(err)
	}
	return h
}

func hostsensorTestOptions(t *testing.T, options string) *hostsensorOptions {
	t.Helper()
	o := hostsensorFactory().Defaults()
	node, err := config.ParseNode("options", []byte(options))
	if err == nil {
		err = node.Decode(o)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o.(*hostsensorOptions)
}

func hostsensorPaths(h *hostsensor) []string {
	var out []string
	for _, p := range h.Describe().Points {
		out = append(out, p.Path)
	}
	return out
}

// hostsensorValue samples one point and returns its value as it stands on the wire, with " stale" where it is.
func hostsensorValue(t *testing.T, h *hostsensor, path string) string {
	t.Helper()
	r, err := h.Sample(t.Context(), path)
	if err != nil {
		return "error: " + err.Error()
	}
	if r.Stale {
		return reports.FormatValue(r.Value) + " stale"
	}
	return reports.FormatValue(r.Value)
}
