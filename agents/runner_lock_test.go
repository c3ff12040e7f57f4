package agents

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"rollcall/internal/bus/bustest"
)

// A reload takes the locks of new agents and gives back those of old ones; what another process runs leaves all as it is.
func TestLocksOfAReload(t *testing.T) {
	t.Parallel()
	url, dir := bustest.Start(t), t.TempDir()
	runner := func(agents string) *Runner {
		return startRunner(t, RunnerConfig{Config: parse(t, url, dir, agents), Factories: []Factory{fakeFactory(func() (Agent, error) { return newFake(), nil })}})
	}
	w := newWatch(t, url)
	first, second := runner("  a: {agent: fake}\n"), runner("  b: {agent: fake}\n")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	taken := func(by *Runner, agents, name string) {
		t.Helper()
		want := fmt.Sprintf("agent %s is run by process %d already: %s is locked", name, os.Getpid(), filepath.Join(dir, name+".lock"))
		if err := by.Reload(ctx, parse(t, url, dir, agents)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("Reload = %v, want %s", err, want)
		}
	}
	taken(second, "  c: {agent: fake}\n  a: {agent: fake}\n  d: {agent: fake}\n", "a")
	w.wantLast("/h/b/status", "online")
	if err := first.Reload(ctx, parse(t, url, dir, "  c: {agent: fake}\n")); err != nil { // of which a refused reload has left nothing
		t.Fatal(err)
	}
	if err := second.Reload(ctx, parse(t, url, dir, "  a: {agent: fake}\n")); err != nil {
		t.Fatal(err)
	}
	w.wantLast("/h/a/status", "online")
	w.wantLast("/h/b/status", "offline")
	taken(first, "  a: {agent: fake}\n", "a")
	if err := first.Reload(ctx, parse(t, url, t.TempDir(), "  a: {agent: fake}\n")); err != nil {
		t.Errorf("with a state directory of its own: %v", err)
	}
}

// Where there can be no file the agents run all the same.
func TestLocksWithoutAFolder(t *testing.T) {
	t.Parallel()
	url, file := bustest.Start(t), filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWatch(t, url)
	startRunner(t, RunnerConfig{Config: parse(t, url, filepath.Join(file, "state"), "  a: {agent: fake}\n"), Factories: []Factory{fakeFactory(func() (Agent, error) { return newFake(), nil })}})
	w.wantLast("/h/a/status", "online")
}

// A start waits for a process that is about to end, and for no other.
func TestLocksAwait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := plan{stateDir: t.TempDir(), entries: []entry{{name: "a"}}}
		first, second := locks{slog.New(slog.DiscardHandler), map[string]*os.File{}}, locks{slog.New(slog.DiscardHandler), map[string]*os.File{}}
		if err := first.take(p); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := second.await(t.Context(), p); err == nil || time.Since(began) < lockPatience || time.Since(began) > 2*lockPatience {
			t.Errorf("beside one that goes on: %v after %s", err, time.Since(began))
		}
		done := make(chan error, 1)
		go func() { done <- second.await(t.Context(), p) }()
		<-time.After(lockPatience / 2)
		first.retain(plan{})
		if err := <-done; err != nil {
			t.Errorf("beside one that ends: %v", err)
		}
		second.retain(plan{})
	})
}
