package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseOperators(t *testing.T) {
	t.Parallel()
	var keys []PublicKey
	for i := range 5 {
		keys = append(keys, newKey(t, fmt.Sprint("operator", i)).Public())
	}
	text := "# who may\r\n\n  read " + keys[0].String() + "\n\tcontrol\t" + keys[1].String() + "\r\nsetup " + keys[2].String() +
		"\nread,control " + keys[3].String() + "  \n" + keys[4].String()
	o, err := ParseOperators("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []Rights{Read, Read | Control, Read | Setup, Read | Control, All} {
		if got := o.Rights(keys[i]); got != want {
			t.Errorf("rights of %d are %v, want %v", i, got, want)
		}
		op, ok := o.Find(keys[i].ID())
		if !ok || op.Comment != keys[i].Comment {
			t.Errorf("Find(%d) = %+v, %v", i, op, ok)
		}
		if again, err := ParseOperator(op.Line()); err != nil || cmp.Diff(again, op) != "" {
			t.Errorf("ParseOperator(%q) = %+v, %v", op.Line(), again, err)
		}
	}
	if got := len(o.All()); got != 5 {
		t.Errorf("%d operators, want 5", got)
	}
	stranger := newKey(t, "s").Public()
	if got := o.Rights(stranger); got != 0 {
		t.Errorf("stranger has rights %v", got)
	}
	if got := (*Operators)(nil).Rights(keys[0]); got != 0 {
		t.Errorf("with no file there are rights %v", got)
	}
}

func TestParseOperatorsRefuses(t *testing.T) {
	t.Parallel()
	good := newKey(t, "good").Public().String()
	other := newKey(t, "other").Public().String()
	for name, tt := range map[string]struct{ text, want string }{
		"garbage":               {"hello", `f:1: right "hello" is none of read, control, setup`},
		"unknown right":         {"# x\nread,write " + good, `f:2: right "write" is none of`},
		"right twice":           {"control,control " + good, `f:1: right "control" stands twice`},
		"no key":                {"read", `f:1: key is of type ""`},
		"rsa":                   {"ssh-rsa AAAAB3NzaC1yc2E= bob", `f:1: key is of type "ssh-rsa"`},
		"read, then rsa":        {"read ssh-rsa AAAA bob", `f:1: key is of type "ssh-rsa"`},
		"cut":                   {good[:40], "f:1: key"},
		"same key":              {good + "\n" + other + "\n\nread " + good, "f:4: key stands on line 1 already"},
		"NUL":                   {good + "\x00", "f:1: line is too long or not text"},
		"escape":                {good + "\x1b[2J", "f:1: comment is longer than"},
		"long":                  {good + strings.Repeat("x", maxLine), "f:1: line is too long"},
		"spaces between rights": {"read, control " + good, `f:1: right "" is none of`},
		"small order":           {"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA x", "f:1: key is one whose secret everybody knows"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, err := ParseOperators("f", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) || o != nil {
				t.Errorf("ParseOperators = %v, %v, want %q", o, err, tt.want)
			}
		})
	}
}

func TestLoadOperators(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "authorized_operators")
	if _, err := LoadOperators(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("LoadOperators of nothing = %v", err)
	}
	key := newKey(t, "alice").Public()
	for mode, ok := range map[fs.FileMode]bool{0o600: true, 0o644: true, 0o640: true, 0o664: false, 0o646: false, 0o620: false} {
		write(t, path, key.String(), mode)
		o, err := LoadOperators(path)
		if (err == nil) != ok || (ok && o.Rights(key) != All) {
			t.Errorf("mode %v: %v, %v", mode, o, err)
		}
		if !ok && !strings.Contains(err.Error(), "chmod go-w "+path) {
			t.Errorf("mode %v: %v, want the chmod line", mode, err)
		}
	}
}

func TestKnownHosts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "sub", "known_hosts")
	a := KnownHost{"pizero1", HostID{1}, newKey(t, "").Public()}
	b := KnownHost{"pizero2", HostID{2}, newKey(t, "").Public()}
	k, err := LoadKnownHosts(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Check(a); !errors.Is(err, ErrUnknownHost) {
		t.Errorf("Check of an unknown host = %v", err)
	}
	for _, h := range []KnownHost{a, b, a} {
		if err := k.Add(h); err != nil {
			t.Fatal(err)
		}
	}
	again, err := LoadKnownHosts(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(again.All(), []KnownHost{a, b}); diff != "" {
		t.Errorf("read again: %s", diff)
	}
	changed := func(h KnownHost) {
		t.Helper()
		err := again.Check(h)
		c, ok := errors.AsType[*ChangedError](err)
		if !ok || !strings.Contains(c.Error(), "udpsrv trust --forget "+c.Known.Name) {
			t.Errorf("Check(%v) = %v, want the loud error", h, err)
		}
		if err := again.Add(h); err == nil {
			t.Errorf("Add(%v) has replaced a key", h)
		}
	}
	changed(KnownHost{"pizero1", HostID{1}, b.PublicKey})            // a new key
	changed(KnownHost{"pizero1", HostID{9}, newKey(t, "").Public()}) // another host under its name
	changed(KnownHost{"evil", HostID{1}, newKey(t, "").Public()})    // another host with its id
	changed(KnownHost{"pizero1", HostID{2}, a.PublicKey})            // its own key with another's id
	if err := again.Check(KnownHost{"renamed", HostID{1}, a.PublicKey}); err != nil {
		t.Errorf("host that was renamed: %v", err)
	}
	if h, ok := again.Find("pizero2", HostID{}); !ok || h.ID != b.ID {
		t.Errorf("Find by name = %v, %v", h, ok)
	}
	if h, ok := again.Find("x", HostID{1}); !ok || h.Name != "pizero1" {
		t.Errorf("Find by id = %v, %v", h, ok)
	}
	if _, ok := again.Find("", HostID{}); ok {
		t.Error("nothing finds a host")
	}
	for _, want := range []int{1, 0} {
		if n, err := again.Forget("pizero1"); n != want || err != nil {
			t.Errorf("Forget = %d, %v, want %d", n, err, want)
		}
	}
	if err := again.Add(KnownHost{"pizero1", HostID{9}, newKey(t, "").Public()}); err != nil {
		t.Errorf("Add after Forget = %v", err)
	}
	if last, err := LoadKnownHosts(path); err != nil || len(last.All()) != 2 {
		t.Errorf("%v, %v, want 2 hosts", last, err)
	}
}

// A last line without an end stays a line of its own.
func TestKnownHostsAppend(t *testing.T) {
	t.Parallel()
	a := KnownHost{"a", HostID{1}, newKey(t, "").Public()}
	path := write(t, filepath.Join(t.TempDir(), "known_hosts"), a.Line(), 0o600)
	k, err := LoadKnownHosts(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := k.Add(KnownHost{fmt.Sprint("b", i), HostID{2, byte(i)}, newKey(t, "").Public()}); err != nil {
			t.Fatal(err)
		}
	}
	if k, err = LoadKnownHosts(path); err != nil || len(k.All()) != 3 {
		t.Errorf("%v, %v, want 3 hosts", k, err)
	}
}

// BenchmarkKnownHosts checks a host of 10,000 that are known.
func BenchmarkKnownHosts(b *testing.B) {
	key := newKey(b, "").Public()
	k, err := ParseKnownHosts("f", nil)
	if err != nil {
		b.Fatal(err)
	}
	h := KnownHost{}
	for i := range 10_000 {
		h = KnownHost{fmt.Sprint("pi", i), HostID{1, byte(i >> 8), byte(i)}, key}
		k.note(h)
	}
	for b.Loop() {
		if _, ok := k.Find("", h.ID); !ok || k.Check(h) != nil {
			b.Fatal("not known")
		}
	}
}

func TestParseKnownHostsRefuses(t *testing.T) {
	t.Parallel()
	key := newKey(t, "").Public().String()
	for _, line := range []string{"pi " + key, "pi,12 " + key, "pi,010203040506070G " + key, "pi,01020304050607AB " + key, ",0102030405060708 " + key,
		"p/i,0102030405060708 " + key, "pi,0102030405060708", "pi,0102030405060708 ssh-rsa AAAA", "pi,0102030405060708 " + key[:30]} {
		if _, err := ParseKnownHosts("f", []byte("#\n"+line)); err == nil || !strings.HasPrefix(err.Error(), "f:2: ") {
			t.Errorf("ParseKnownHosts(%q) = %v, want an error with the line", line, err)
		}
	}
	path := write(t, filepath.Join(t.TempDir(), "known_hosts"), "", 0o666)
	if _, err := LoadKnownHosts(path); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("LoadKnownHosts of a file that all can write = %v", err)
	}
}

func FuzzParseOperators(f *testing.F) {
	key := newKey(f, "alice").Public().String()
	for _, s := range []string{key, "read " + key, "read,control,setup " + key + "\n# x\n\n", "ssh-rsa AAAA", "setup\t" + key} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := ParseOperators("f", b)
		if err != nil {
			if o != nil || !strings.HasPrefix(err.Error(), "f:") {
				t.Errorf("ParseOperators = %v, %v", o, err)
			}
			return
		}
		var text strings.Builder
		for _, op := range o.All() {
			if op.Rights&^All != 0 || !op.Rights.Has(Read) {
				t.Errorf("operator %v has rights %b", op, op.Rights)
			}
			text.WriteString(op.Line() + "\n")
		}
		again, err := ParseOperators("g", []byte(text.String()))
		if err != nil || cmp.Diff(again.All(), o.All()) != "" {
			t.Errorf("written and read again: %v, %v", again, err)
		}
	})
}

func FuzzParseKnownHosts(f *testing.F) {
	key := newKey(f, "").Public().String()
	for _, s := range []string{"pi,0102030405060708 " + key, "# x\n\npi,0102030405060708 " + key + " c\n", "a,b c d"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseKnownHosts("f", b)
		if err != nil {
			return
		}
		for _, h := range k.All() {
			again, err := ParseKnownHost(h.Line())
			if err != nil || cmp.Diff(again, h) != "" {
				t.Errorf("%q is %v, %v when read again", h.Line(), again, err)
			}
		}
	})
}
