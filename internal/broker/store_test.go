package broker

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// stored reads a store that no broker has open.
func stored(t testing.TB, path string) map[string]string {
	t.Helper()
	s, messages, err := tryStore(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for topic, m := range messages {
		got[topic] = string(m.payload)
	}
	return got
}

// Retained messages survive a restart, with QoS; the last value and deletions are never lost at a clean stop.
func TestRetainedSurvives(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	_, addr, stop := startStop(t, Config{Allow: allowAll, Store: path})
	c := dial(t, addr)
	c.connect("c")
	for i := range 500 {
		c.publish("/h/count", fmt.Sprint(i), 1, true)
	}
	c.publish("/h/gone", "x", 1, true)
	c.publish("/h/gone", "", 1, true)
	c.publish("/h/qos0", "zero", 0, true)
	c.publish("/h/live", "x", 1, false)
	c.publish("/h/"+strings.Repeat("long/", 100), strings.Repeat("x", 100_000), 1, true)
	stop()

	b, addr := start(t, Config{Allow: allowAll, Store: path})
	if got := b.Stats().Retained; got != 3 {
		t.Errorf("Retained = %d, want 3", got)
	}
	again := dial(t, addr)
	again.connect("c")
	for filter, want := range map[string]string{"/h/count": "/h/count=499 retained", "/h/qos0": "/h/qos0=zero retained"} {
		again.subscribe(filter, 1)
		if got := again.received(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// A message that was deleted after a restart stays deleted after the next.
func TestRetainedDelete(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	for _, payload := range []string{"x", ""} {
		_, addr, stop := startStop(t, Config{Allow: allowAll, Store: path})
		c := dial(t, addr)
		c.connect("c")
		c.publish("a", payload, 1, true)
		stop()
	}
	if diff := cmp.Diff(stored(t, path), map[string]string{}); diff != "" {
		t.Errorf("store (-got +want):\n%s", diff)
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	_, addr, stop := startStop(t, Config{Allow: allowAll, Store: path})
	c := dial(t, addr)
	c.connect("c")
	c.publish("/h/x/status", "online", 1, true)
	c.publish("/h/x/value", "1", 1, true)
	c.publish("/h/x/old", "1", 1, true)
	stop()

	restore := func(topic string, payload []byte) []byte {
		switch topic {
		case "/h/x/status":
			return append(payload[:0], "offline"...)
		case "/h/x/old":
			return nil
		}
		return payload
	}
	_, addr, stop = startStop(t, Config{Allow: allowAll, Store: path, Restore: restore})
	c = dial(t, addr)
	c.connect("c")
	c.subscribe("/#", 0)
	got := map[string]bool{c.received(): true, c.received(): true}
	want := map[string]bool{"/h/x/status=offline retained": true, "/h/x/value=1 retained": true}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("retained (-got +want):\n%s", diff)
	}
	stop()
	if diff := cmp.Diff(stored(t, path), map[string]string{"/h/x/status": "offline", "/h/x/value": "1"}); diff != "" {
		t.Errorf("store (-got +want):\n%s", diff)
	}
}

// A topic that changes all the time is written once an interval; one that only repeats itself, never.
func TestStoreIsSparing(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	b, addr, stop := startWith(t, Config{Allow: allowAll, Store: path}, func(b *Broker) { b.retained.every = 200 * time.Millisecond })
	t.Cleanup(stop)
	c := dial(t, addr)
	c.connect("c")
	commits := func() int {
		tx, err := b.store.db.Begin(false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
		return tx.ID()
	}
	first := commits()
	begin := time.Now()
	for i := 0; time.Since(begin) < 500*time.Millisecond; i++ {
		c.publish("changing", fmt.Sprint(i), 1, true)
	}
	if n := commits() - first; n < 1 || n > 4 {
		t.Errorf("%d writes in 0.5 s, want 3 or so, one each 0.2 s", n)
	}
	c.publish("same", "x", 1, true)
	pending := func() bool { b.retained.mu.Lock(); defer b.retained.mu.Unlock(); return len(b.retained.dirty) > 0 }
	eventually(t, "write", func() bool { return !pending() })
	first = commits()
	c.publish("same", "x", 1, true)
	eventually(t, "second write", func() bool { return !pending() })
	if n := commits() - first; n > 1 { // 1 when the first is seen before its commit
		t.Errorf("%d writes of what is there already, want 0", n)
	}
}

// What was retained a second before SIGKILL is there after it.
func TestStoreAfterKill(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childStore+"="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(kill)
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("child: %v", err)
	}
	c := dial(t, strings.TrimSpace(addr))
	c.connect("c")
	want := map[string]string{}
	for i := range 200 {
		topic, payload := fmt.Sprintf("/h/x/%d", i), strings.Repeat(fmt.Sprint(i), 20)
		c.publish(topic, "old", 1, true)
		c.publish(topic, payload, 1, true)
		want[topic] = payload
	}
	old := time.Now()
	for i := 0; time.Since(old) < 1300*time.Millisecond; i++ { // keeps the store busy to the end
		c.publish("/busy", fmt.Sprint(i), 0, true)
		c.ping()
	}
	kill()
	got := stored(t, path)
	delete(got, "/busy")
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("store after SIGKILL (-got +want):\n%s", diff)
	}
}

func TestStoreLocked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	start(t, Config{Store: path})
	begin := time.Now()
	_, err := New(Config{Listen: []string{"127.0.0.1:0"}, Store: path})
	if d := time.Since(begin); d > time.Second {
		t.Errorf("New took %v, want 1 s at most", d)
	}
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("New = %v, want that the store is in use", err)
	}
}

// soundStore makes a store of some pages and returns its bytes.
func soundStore(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound.db")
	s, _, err := tryStore(path)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 { // for a free list
		messages := map[string]message{}
		for i := range 300 {
			messages[fmt.Sprintf("/host/service/%d", i)] = message{payload: bytes.Repeat([]byte{byte(i), byte(round)}, 50)}
		}
		if err := s.write(messages); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A damaged store is moved aside, loudly, and a broker with a new one works.
func TestStoreCorrupt(t *testing.T) {
	t.Parallel()
	sound := soundStore(t)
	tests := map[string][]byte{
		"text":          []byte(strings.Repeat("not a database\n", 1000)),
		"short":         []byte("x"),
		"zeros":         make([]byte, 1<<16),
		"cut":           sound[:len(sound)/2],
		"cut to 1 page": sound[:4096],
		"no metas":      append(make([]byte, 8192), sound[8192:]...),
		"data zeroed":   append(bytes.Clone(sound[:8192]), make([]byte, len(sound)-8192)...),
		"data 0xff":     append(bytes.Clone(sound[:8192]), bytes.Repeat([]byte{0xff}, len(sound)-8192)...),
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "store.db")
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			var log logBuffer
			_, addr, stop := startStop(t, Config{Allow: allowAll, Store: path, Log: log.logger(slog.LevelError)})
			c := dial(t, addr)
			c.connect("c")
			c.publish("a", "1", 1, true)
			stop()
			aside, err := filepath.Glob(path + ".corrupt-*")
			if err != nil || len(aside) != 1 {
				t.Fatalf("moved aside: %v, %v; want one file", aside, err)
			}
			if got, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(got, data) {
				t.Errorf("moved file has changed or cannot be read: %v", err)
			}
			if got := log.String(); !strings.Contains(got, "MAY BE LOST") || !strings.Contains(got, aside[0]) {
				t.Errorf("log = %q, want that messages are lost, and where the file is", got)
			}
			if diff := cmp.Diff(stored(t, path), map[string]string{"a": "1"}); diff != "" {
				t.Errorf("new store (-got +want):\n%s", diff)
			}
		})
	}
}

// Whatever bytes are wrong, opening ends with a sound store or with the one error that has the file moved aside.
func TestStoreDamage(t *testing.T) {
	t.Parallel()
	sound := soundStore(t)
	path := filepath.Join(t.TempDir(), "store.db")
	rapid.Check(t, func(t *rapid.T) {
		data := bytes.Clone(sound)
		for range rapid.IntRange(1, 8).Draw(t, "spots") {
			at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
			copy(data[at:], rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "bytes"))
		}
		data = data[:rapid.IntRange(len(data)/2, len(data)).Draw(t, "size")]
		_ = os.Remove(path) // bbolt may have panicked with the file mapped, which keeps its lock: openStore makes a new one too
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err := tryStore(path)
		if err != nil {
			if !errors.Is(err, errCorrupt) {
				t.Fatalf("open: %v, want %v", err, errCorrupt)
			}
			return
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	})
}

// A store that is damaged while it is open is replaced, and loses nothing that the broker still knows.
func TestStoreDamagedInUse(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, soundStore(t), 0o600); err != nil {
		t.Fatal(err)
	}
	var log logBuffer
	_, addr, stop := startStop(t, Config{Allow: allowAll, Store: path, Log: log.logger(slog.LevelError)})
	if err := os.Truncate(path, 8192); err != nil { // touching a page of it is SIGBUS now
		t.Fatal(err)
	}
	c := dial(t, addr)
	c.connect("c")
	for i := range 100 {
		c.publish(fmt.Sprintf("new/%d", i), "x", 1, true)
	}
	stop()
	if got := len(stored(t, path)); got != 300+100 {
		t.Errorf("%d messages in the new store, want 400", got)
	}
	if got := log.String(); strings.Count(got, "MAY BE LOST") != 1 {
		t.Errorf("log = %q, want that the store was corrupt, once", got)
	}
}

// A store that cannot be written is said to be so, keeps what is to be written, and is tried again.
func TestStoreWriteFails(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	b, err := New(Config{Listen: []string{"127.0.0.1:0"}, Store: path})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.store.close(); err != nil {
		t.Fatal(err)
	}
	b.retained.changed("a", false)
	if err := b.Close(); err == nil || !strings.Contains(err.Error(), "write retained messages") {
		t.Errorf("Close = %v, want that retained messages are not written", err)
	}
	if len(b.retained.dirty) != 1 {
		t.Errorf("%d messages left to write, want 1", len(b.retained.dirty))
	}
}

func TestMessageRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := message{
			qos:     rapid.ByteRange(0, 2).Draw(t, "qos"),
			created: rapid.Int64().Draw(t, "created"),
			expiry:  rapid.Int64().Draw(t, "expiry"),
			payload: rapid.SliceOfN(rapid.Byte(), 1, 100).Draw(t, "payload"),
		}
		got, err := parseMessage(want.marshal())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, want, cmp.AllowUnexported(message{})); diff != "" {
			t.Errorf("parse(marshal) (-got +want):\n%s", diff)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add(message{payload: []byte("x")}.marshal())
	f.Add([]byte{})
	f.Add(make([]byte, messageHeader))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseMessage(b)
		if err == nil && !bytes.Equal(m.marshal(), b) {
			t.Errorf("marshal(parse(%x)) = %x", b, m.marshal())
		}
	})
}

// v5 messages with an end go when it has come, from memory and store.
func TestRetainedExpires(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "store.db")
	b, addr, stop := startStop(t, Config{Allow: allowAll, Store: path})
	c := dial(t, addr)
	c.open(connectFrame{id: "c", version: 5})
	for topic, seconds := range map[string]byte{"soon": 10, "later": 200} {
		body := append(str(topic), 5, 2, 0, 0, 0, seconds) // property 2: message expiry interval
		c.send(wrap(0x31, append(body, 'x')))
	}
	c.send(wrap(0x31, append(append(str("never"), 0), 'x')))
	c.ping()
	now := time.Now().Unix()
	b.expire(now + 5)
	if got := b.Stats().Retained; got != 3 {
		t.Errorf("%d retained after 5 s, want 3", got)
	}
	b.expire(now + 100)
	if got := b.Stats().Retained; got != 2 {
		t.Errorf("%d retained after 100 s, want 2", got)
	}
	stop()
	if diff := cmp.Diff(stored(t, path), map[string]string{"later": "x", "never": "x"}); diff != "" {
		t.Errorf("store (-got +want):\n%s", diff)
	}
	b, err := New(Config{Listen: []string{"127.0.0.1:0"}, Store: path})
	if err != nil {
		t.Fatal(err)
	}
	b.expire(now + 300)
	if got := b.Stats().Retained; got != 1 {
		t.Errorf("%d retained 300 s later, after a restart: want 1", got)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// Retained state has an end: more than so many topics or bytes are passed on, but not retained.
func TestRetainedIsBounded(t *testing.T) {
	t.Parallel()
	r := newRetained(nil, slog.New(slog.NewTextHandler(io.Discard, nil)))
	for i := range maxRetained {
		if !r.admit(fmt.Sprint(i), 1) {
			t.Fatalf("message %d is not admitted", i)
		}
	}
	if r.admit("one more", 1) {
		t.Error("one topic more is admitted")
	}
	if !r.admit("7", 10) || !r.admit("8", 0) || !r.admit("one more", 1) {
		t.Error("a known topic, a deletion or a topic instead of another is not admitted")
	}
	r = newRetained(nil, r.log)
	n := 0
	for ; r.admit(fmt.Sprint(n), 100_000); n++ {
	}
	if got := n * 100_000; got > maxRetainedBytes || got < maxRetainedBytes-200_000 {
		t.Errorf("%d bytes are admitted, want %d", got, maxRetainedBytes)
	}
	if r.admit("0", 0); !r.admit("new", 99_000) {
		t.Error("no room after a deletion")
	}
}
