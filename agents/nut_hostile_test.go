package agents

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// startHostileUPSD listens, and has each connection served by serve, which is given the lines that come in. serve ends when the
// connection does.
func startHostileUPSD(t *testing.T, serve func(conn net.Conn, lines *bufio.Scanner)) nutOptions {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn, bufio.NewScanner(conn))
			_ = conn.Close() // the other side may have done so
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return nutOptions{Address: l.Addr().String(), UPS: "a"}
}

// However it is that an upsd wastes time or memory, a look ends with an error when its context does, or before.
func TestNUTHostile(t *testing.T) {
	t.Parallel()
	const begin, late = "BEGIN LIST VAR a\n", "does not answer: context deadline exceeded"
	drip := func(text string) func(net.Conn, *bufio.Scanner) {
		return func(conn net.Conn, lines *bufio.Scanner) {
			lines.Scan()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for i := 0; ; i++ {
				<-tick.C
				if _, err := io.WriteString(conn, text[i%len(text):i%len(text)+1]); err != nil {
					return
				}
			}
		}
	}
	flood := func(first string, more func(i int) string) func(net.Conn, *bufio.Scanner) {
		return func(conn net.Conn, lines *bufio.Scanner) {
			lines.Scan()
			_, err := io.WriteString(conn, first)
			for i := 0; err == nil; i++ {
				_, err = io.WriteString(conn, more(i))
			}
		}
	}
	says := func(text string) func(net.Conn, *bufio.Scanner) {
		return func(conn net.Conn, lines *bufio.Scanner) {
			lines.Scan()
			_, _ = io.WriteString(conn, text) // the look sees it, or nothing
			lines.Scan()
		}
	}
	for name, c := range map[string]struct {
		serve func(net.Conn, *bufio.Scanner)
		want  string
	}{
		"drips lines":     {drip(begin + strings.Repeat("VAR a b \"c\"\n", 1000)), late},
		"drips no line":   {drip("x"), late},
		"endless line":    {flood("", func(int) string { return strings.Repeat("x", 1<<16) }), "a line of more than 4096 bytes"},
		"a value of 1 MB": {flood(begin, func(int) string { return "VAR a b \"" + strings.Repeat("x", 1<<20) + "\"\n" }), "a line of more than 4096 bytes"},
		"many long values": {flood(begin, func(i int) string { return fmt.Sprintf("VAR a b.%d \"%s\"\n", i, strings.Repeat("x", 4000)) }),
			"a list of more than 524288 bytes"},
		"many lists":         {flood(begin, func(int) string { return begin }), "in a list of VAR a"},
		"silent in a line":   {says(begin + "VAR a ups.st"), late},
		"control characters": {says(begin + "VAR a ups.model \"\x1b[2J\x00\"\n"), "it has a control character"},
		"closed in a line": {func(conn net.Conn, lines *bufio.Scanner) {
			lines.Scan()
			_, _ = io.WriteString(conn, begin+"VAR a ups.status \"OB")
		}, "has closed the connection"},
		"closed at once": {func(net.Conn, *bufio.Scanner) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := startHostileUPSD(t, c.serve)
			client := newNUTClient(o, new(net.Dialer).DialContext)
			defer client.close()
			for range 2 { // the connection is made anew
				within := time.Minute
				if strings.HasSuffix(c.want, late) {
					within = 300 * time.Millisecond
				}
				ctx, cancel := context.WithTimeout(t.Context(), within)
				vars, err := client.list(ctx)
				cancel()
				if err == nil || vars != nil || !strings.Contains(err.Error(), c.want) || c.want != late && strings.HasSuffix(err.Error(), late) {
					t.Errorf("%v, %v, want %q", vars, err, c.want)
				}
				if client.conn != nil {
					t.Error("the connection is kept")
				}
			}
		})
	}
}

// Names and values that are strange stay data: none becomes a point, none stands in another one's place, and all are valid text.
func TestNUTStrangeNames(t *testing.T) {
	t.Parallel()
	answer := "BEGIN LIST VAR a\nVAR a ups.status \"OL \xff\xfe ../../x $(reboot)\"\nVAR a \"\" \"empty\"\nVAR a ../set/x \"1\"\nVAR a UPS.STATUS \"OB\"\n" +
		"VAR a ups.model \"/+#\xc3\"\nVAR a battery.charge \"1e999\"\nVAR a ups.load \"0x10\"\nEND LIST VAR a\n"
	o := nutOptions{Address: startNUTPeer(t, nil, nutAnswers(answer)).address}
	n, err := newNUT(o, newNUTClient(o, new(net.Dialer).DialContext))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	service := n.Describe()
	service.Name = "nut"
	if err := service.Validate(); err != nil {
		t.Error(err)
	}
	readings, err := n.SampleAll(t.Context(), nutPaths(n))
	got := map[string]any{}
	for _, r := range readings {
		got[r.Path] = r.Value
	}
	for path, want := range map[string]any{"flag/on_line": true, "flag/on_battery": false, "ups/status": "OL � ../../x $(reboot)", "ups/model": "/+#�"} {
		if got[path] != want {
			t.Errorf("%s = %q, want %q", path, got[path], want)
		}
	}
	for _, path := range []string{"battery/charge", "ups/load"} {
		if got[path] != nil || err == nil || !strings.Contains(err.Error(), path+": the UPS says") {
			t.Errorf("%s = %v, %v", path, got[path], err)
		}
	}
}
