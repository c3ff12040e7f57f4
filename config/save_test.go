package config

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"rollcall/reports"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// faultyDisk is the real disk, whose step that is called for the nth time fails.
type faultyDisk struct {
	disk
	step  string
	left  int // calls of step that still succeed
	calls []string
}

var errFault = errors.New("fault")

func (f *faultyDisk) fails(step string) error {
	f.calls = append(f.calls, step)
	if step != f.step {
		return nil
	}
	f.left--
	if f.left == -1 {
		return errFault
	}
	return nil
}

type faultyFile struct {
	tempFile
	disk *faultyDisk
}

func (f faultyFile) Write(b []byte) (int, error) {
	if err := f.disk.fails("write"); err != nil {
		n, _ := f.tempFile.Write(b[:len(b)/2]) // a disk that is full
		return n, err
	}
	return f.tempFile.Write(b)
}

func (f faultyFile) Sync() error { return errors.Join(f.disk.fails("sync"), f.tempFile.Sync()) }

func (f faultyFile) Close() error { return errors.Join(f.disk.fails("close"), f.tempFile.Close()) }

func newFaultyDisk(step string, left int) *faultyDisk {
	real, f := osDisk(), &faultyDisk{step: step, left: left}
	try := func(step string, act func() error) error {
		if err := f.fails(step); err != nil {
			return err
		}
		return act()
	}
	f.disk = disk{
		mkdirAll: func(dir string) error { return try("mkdir", func() error { return real.mkdirAll(dir) }) },
		create: func(dir, pattern string) (file tempFile, err error) {
			err = try("create", func() error { file, err = real.create(dir, pattern); return err })
			return faultyFile{file, f}, err
		},
		rename:  func(from, to string) error { return try("rename", func() error { return real.rename(from, to) }) },
		remove:  real.remove,
		syncDir: func(dir string) error { return try("syncdir", func() error { return real.syncDir(dir) }) },
	}
	return f
}

// listing returns the names in a folder.
func listing(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestSaveFaults holds that a failure at any step leaves the old content, or none where there was none, and no other file.
func TestSaveFaults(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"mkdir", "create", "write", "sync", "close", "rename", "syncdir"} {
		for _, existed := range []bool{true, false} {
			dir := t.TempDir()
			path := filepath.Join(dir, "gpio.yaml")
			var want []string
			if existed {
				want = []string{"gpio.yaml"}
				if err := Save(path, []byte("old")); err != nil {
					t.Fatal(err)
				}
			}
			f := newFaultyDisk(step, 0)
			if err := save(f.disk, path, []byte("new content")); !errors.Is(err, errFault) {
				t.Errorf("%s: save = %v, want the fault", step, err)
			}
			if diff := cmp.Diff(listing(t, dir), want); diff != "" {
				t.Errorf("%s, existed %v: folder (-got +want):\n%s", step, existed, diff)
			}
			if got, err := os.ReadFile(path); existed && (err != nil || string(got) != "old") {
				t.Errorf("%s: content %q, %v, want the old", step, got, err)
			}
		}
	}
}

func TestSaveSteps(t *testing.T) {
	t.Parallel()
	f := newFaultyDisk("", 0)
	if err := save(f.disk, filepath.Join(t.TempDir(), "a", "b", "c.yaml"), nil); err != nil {
		t.Fatal(err)
	}
	want := "mkdir syncdir syncdir create write sync close rename syncdir" // one syncdir for each folder made
	if got := strings.Join(f.calls, " "); got != want {
		t.Errorf("steps = %s, want %s", got, want)
	}
	f = newFaultyDisk("syncdir", 1)
	if err := save(f.disk, filepath.Join(t.TempDir(), "a", "b", "c.yaml"), nil); !errors.Is(err, errFault) {
		t.Errorf("save with a folder that can't be synced = %v, want the fault", err)
	}
}

func TestSave(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "new", "deep", "gpio.yaml")
	for _, content := range []string{"one", "", "two\n", strings.Repeat("x", 1<<20)} {
		if err := Save(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Fatalf("content = %.20q, %v, want %.20q", got, err, content)
		}
	}
	for path, want := range map[string]os.FileMode{path: 0o600, filepath.Join(dir, "new"): os.ModeDir | 0o750, filepath.Join(dir, "new/deep"): os.ModeDir | 0o750} {
		info, err := os.Stat(path)
		if err != nil || info.Mode() != want {
			t.Errorf("mode of %s = %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	if got := listing(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("Save left %v", got)
	}
	for _, bad := range []string{dir, filepath.Join(path, "below"), filepath.Join(dir, "nul\x00")} {
		if err := Save(bad, nil); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("Save(%q) = %v, want an error with the path", bad, err)
		}
	}
}

// TestSaveWidePermissions holds that a file that all could read is private once it is saved.
func TestSaveWidePermissions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, target := filepath.Join(dir, "link.yaml"), filepath.Join(dir, "target.yaml")
	if err := os.WriteFile(target, []byte("target"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600 and no link", info.Mode(), err)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != "target" {
		t.Errorf("what the link pointed to = %q, %v, want it untouched", got, err)
	}
}

// TestSaveAfterCrash holds that what a crash in the middle of Save leaves does not matter.
func TestSaveAfterCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "gpio.yaml")
	if err := Save(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	left, err := osDisk().create(dir, ".gpio.yaml.*.tmp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := left.Write([]byte("ha")); err != nil {
		t.Fatal(err)
	}
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, []byte("new")); err != nil {
		t.Errorf("Save beside a leftover = %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "new" {
		t.Errorf("content = %q, %v, want new", got, err)
	}
}

// TestSaveConcurrent holds that writers and readers at the same time never see anything but a whole content.
func TestSaveConcurrent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "gpio.yaml")
	whole := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 10_000) }
	if err := Save(path, whole(0)); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			for range 5 {
				if err := Save(path, whole(i)); err != nil {
					t.Error(err)
				}
				got, err := os.ReadFile(path)
				if err != nil || len(got) != 10_000 || !bytes.Equal(got, whole(int(got[0]-'a'))) {
					t.Errorf("read %d bytes, %v, want one whole content", len(got), err)
				}
			}
		})
	}
	writers.Wait()
	if got := listing(t, dir); len(got) != 1 {
		t.Errorf("Save left %v", got)
	}
}

// roundTrip is what TestMarshal sends there and back.
type roundTrip struct {
	Text  string
	List  []string
	Map   map[string]inner
	Wait  reports.Duration
	Ptr   *float64
	Float float64
	Int   int64
	On    bool
	Empty string `yaml:",omitempty"`
}

func TestMarshal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.SampledFrom([]string{"", "off", "25", "017", "1e3", "~", "null", "- a", "a: b", "# a", "*a", "&a", "!a", "<<", "=", "\n", " a\n b",
			"\n  a\n", "a\n\n", "\t", "'", `"`, "\\", "2001-01-01", "1:30", "{", "@", "é😀", "a #b", "---", "...", "%"}),
			rapid.StringOf(rapid.RuneFrom([]rune("ab \n\t\"'#:-{[&*!|>%@\\é😀0~")))).Draw(t, "text")
		key := rapid.StringMatching(`[a-z<~0-9 :#-]{1,8}`).Draw(t, "key")
		want := roundTrip{
			Text: text, List: []string{text, "x"}, Map: map[string]inner{key: {Pin: 3}},
			Wait: reports.Duration(rapid.Int64Range(0, math.MaxInt64).Draw(t, "wait")), Ptr: ptr(rapid.Float64().Draw(t, "ptr")),
			Float: rapid.Float64().Draw(t, "float"), Int: rapid.Int64().Draw(t, "int"), On: rapid.Bool().Draw(t, "on"),
		}
		doc, err := Marshal(want)
		if err != nil {
			t.Fatalf("Marshal(%+v): %v", want, err)
		}
		n, err := ParseNode("", doc)
		if err != nil {
			t.Fatalf("ParseNode(%s): %v", doc, err)
		}
		var got roundTrip
		if err := n.Decode(&got); err != nil {
			t.Fatalf("Decode(%s): %v", doc, err)
		}
		if diff := cmp.Diff(got, want); diff != "" {
			t.Fatalf("Decode(Marshal) (-got +want):\n%s\n%s", diff, doc)
		}
	})
}

func TestMarshalErrors(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"not UTF-8": "a\xff", "number": math.Inf(1), "deep": deep(),
		"long": strings.Repeat("x", MaxBytes), "empty key": map[string]int{"": 1}, "channel": make(chan int), "within": map[string][]any{"a": {math.NaN()}},
	} {
		doc, err := Marshal(v)
		if err == nil {
			t.Errorf("%s: Marshal = %.40q, want an error", name, doc)
			continue
		}
		checkOneLine(t, err)
	}
}

// deep returns lists in lists, one more than may be.
func deep() any {
	var v any
	for range MaxDepth {
		v = []any{v}
	}
	return v
}

// TestMarshalNode holds that what stands in a document undecoded is written as it was, without what is its parent's.
func TestMarshalNode(t *testing.T) {
	t.Parallel()
	n := mustNode(t, "agent: gpio\nchip: sim\noutputs: {pump: {pin: 25, initial: off}}\n").Without("agent")
	doc, err := Marshal(map[string]Node{"door": n, "empty": {}})
	if err != nil {
		t.Fatal(err)
	}
	want := "door:\n  chip: sim\n  outputs: {pump: {pin: 25, initial: off}}\nempty: null\n"
	if string(doc) != want {
		t.Errorf("Marshal = %s, want %s", doc, want)
	}
}
