//go:build unix

package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fifo makes a named pipe, as a shell does for -f <(command).
func fifo(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A command that waits for its document ends when it is told to.
func TestReadingIsInterrupted(t *testing.T) {
	t.Parallel()
	dead, quiet := fifo(t), fifo(t)
	w, err := os.OpenFile(quiet, os.O_RDWR, 0) // open for writing, and silent
	if err != nil {
		t.Fatal(err)
	}
	stdin, typist := io.Pipe()
	l := newLaptop(t)
	for _, args := range [][]string{
		{"setup", "h/s", "-f", dead},
		{"setup", "h/s", "-f", quiet},
		{"setup", "h/s", "-f", "-"},
		{"control", "h/s", "-"},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		var stdout, stderr strings.Builder
		code := make(chan int, 1)
		go func() { code <- run(ctx, append([]string{"--cache", l.cache}, args...), stdin, &stdout, &stderr) }()
		select {
		case got := <-code:
			if got != exitFail || stderr.String() != "udpsrv: interrupted\n" || stdout.String() != "" {
				t.Errorf("%q: status %d, stdout %q, stderr %q", args, got, stdout.String(), stderr.String())
			}
		case <-time.After(patience):
			t.Errorf("%q does not end", args)
		}
		cancel()
	}
	// What still reads ends with the process; here it is let go.
	typist.Close()
	w.Close()
	if w, err = os.OpenFile(dead, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	w.Close()
}

func TestDocumentFromPipe(t *testing.T) {
	t.Parallel()
	l, s, to := bench(t)
	path := fifo(t)
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(path, []byte("outputs: {}\n"), 0) }()
	l.want(exitOK, "setup", to, "pizero2/gpio", "-f", path)
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	if c := <-s.heard; string(c.Value.([]byte)) != "outputs: {}\n" {
		t.Errorf("the service heard %+v", c)
	}
}

// What never ends is read only as far as needed to know that it is too long.
func TestEndlessDocument(t *testing.T) {
	t.Parallel()
	if _, stderr := newLaptop(t).want(exitFail, "setup", "h/s", "-f", "/dev/zero"); stderr != "udpsrv: /dev/zero has more than 65536 bytes\n" {
		t.Errorf("stderr %q", stderr)
	}
}
