package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"rollcall/internal/discover"
)

// saying returns a hello that is not signed, as discover documents it.
func saying(id discover.ID, at time.Time, bye bool) []byte {
	b := make([]byte, 64)
	copy(b, "RCL1\x01\x03")
	if bye {
		b[7] = 4
	}
	copy(b[8:], id[:])
	binary.BigEndian.PutUint64(b[24:], uint64(at.UnixMilli()))
	binary.BigEndian.PutUint32(b[32:], 1)
	return b
}

// TestWatchHello has hosts come, restart and go between two sweeps that are a minute apart: all is seen at once.
func TestWatchHello(t *testing.T) {
	t.Parallel()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	to, err := net.DialUDP("udp4", nil, conn.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	h := discover.Host{ID: discover.ID{7}, Hostname: "pizero2", Started: time.Now().Add(-time.Hour)}
	r := boot(t, h, nil)
	l := newLaptop(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	in, out := io.Pipe()
	var errs bytes.Buffer
	a := &app{out: &output{w: out}, err: &output{w: &errs}, cache: l.cache, keys: l.keys}
	s := sweeping{every: time.Minute, watch: true, asking: asking{to: []string{r.addr}, wait: time.Second, port: discover.Port, via: viaUDP},
		hellos: func(context.Context) (*net.UDPConn, error) { return conn, nil }}
	done := make(chan error, 1)
	go func() { done <- s.run(ctx, a); out.Close() }()
	lines := bufio.NewScanner(in)
	next := func() string {
		if !lines.Scan() {
			t.Fatalf("no further line: %v; stderr: %s", lines.Err(), &errs)
		}
		return strings.Join(strings.Fields(lines.Text()), " ")
	}
	say := func(bye bool, at time.Time) {
		if _, err := to.Write(saying(h.ID, at, bye)); err != nil {
			t.Fatal(err)
		}
	}
	got := []string{next(), next()}
	h.Started = time.Now()
	r.Update(h)
	say(true, time.Now().Add(-time.Minute)) // an old one
	say(false, time.Now())
	got = append(got, next())
	say(true, time.Now())
	got = append(got, next())
	say(false, time.Now())
	got = append(got, next())
	want := []string{"HOST ADDRESS SERVICE FUNCTION STATUS POINTS ID", "+ pizero2 127.0.0.1 - - - - 07000000", "~ pizero2 127.0.0.1 - - - - 07000000",
		"- pizero2 127.0.0.1 - - - - 07000000", "+ pizero2 127.0.0.1 - - - - 07000000"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("run() = %v", err)
	}
}

func TestByeOfAnother(t *testing.T) {
	t.Parallel()
	key, evil := newHostKey(t, "pi"), newHostKey(t, "evil")
	now := time.Now()
	known := func() *watcher {
		h := at("0700000000000000", "pi", "10.0.0.1")
		h.key = key.Public().Key
		return &watcher{hosts: []*watched{{host: h}}}
	}
	for name, tt := range map[string]struct {
		h    discover.Hello
		want int
	}{
		"signed":                {discover.Hello{Bye: true, Host: discover.ID{7}, Time: now, Key: key.Public().Key}, 1},
		"not signed":            {discover.Hello{Bye: true, Host: discover.ID{7}, Time: now}, 0},
		"signed by another":     {discover.Hello{Bye: true, Host: discover.ID{7}, Time: now, Key: evil.Public().Key}, 0},
		"signed long ago":       {discover.Hello{Bye: true, Host: discover.ID{7}, Time: now.Add(-time.Minute), Key: key.Public().Key}, 0},
		"of a host not watched": {discover.Hello{Bye: true, Host: discover.ID{8}, Time: now, Key: key.Public().Key}, 0},
	} {
		w := known()
		if got := w.bye(hello{Hello: tt.h}, now); len(got) != tt.want || len(w.hosts) != 1-tt.want {
			t.Errorf("%s: %d events, %d hosts left, want %d, %d", name, len(got), len(w.hosts), tt.want, 1-tt.want)
		}
	}
}
