//go:build cgo && godht

package agents

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/d2r2/go-dht"
	logger "github.com/d2r2/go-logger"
)

// dht22LibraryDecode is what ReadDHTxx makes of the pulses that it has polled. It takes no hardware to compare it with ours.
//
//go:linkname dht22LibraryDecode github.com/d2r2/go-dht.decodeDHTxxPulses
func dht22LibraryDecode(kind dht.SensorType, pulses []dht.Pulse) (celsius, percent float32, err error)

// dht22Pulses are the parts of an answer as the library sees them: from the master letting go to the sensor letting go.
func dht22Pulses(parts []time.Duration) []dht.Pulse {
	var out []dht.Pulse
	for i, p := range parts {
		out = append(out, dht.Pulse{Value: byte(1 - i%2), Duration: p})
	}
	return append(out, dht.Pulse{Value: 1, Duration: 10 * time.Millisecond})
}

// TestDHT22Agree has the library and our own decoder read the same answers: the datasheets' and 10,000 random ones with up to three
// wrong pulses. Where both accept, the values are the same.
func TestDHT22Agree(t *testing.T) {
	dht22Library().to(slog.New(slog.DiscardHandler))
	agree := func(model string, parts []time.Duration) (both bool) {
		t.Helper()
		kind := dht.DHT22
		if model == dht22Model11 {
			kind = dht.DHT11
		}
		celsius, percent, theirs := dht22LibraryDecode(kind, dht22Pulses(parts))
		var v dht22Value
		frame, _, ours := dht22Decode(dht22Edged(parts))
		if ours == nil {
			v, ours = dht22Convert(model, frame)
		}
		if theirs != nil || ours != nil {
			return false
		}
		if model == dht22Model11 { // of which the library leaves out tenths and sign
			v = dht22Value{float64(frame[2]), float64(frame[0])}
		}
		if got := (dht22Value{dht22Tenths(celsius), dht22Tenths(percent)}); got != v {
			t.Errorf("%s % x: the library has %+v, we have %+v", model, frame, got, v)
		}
		return true
	}
	for _, e := range dht22Values() {
		if both := agree(e.model, dht22Line(e.frame)); both != (e.fault == "") {
			t.Errorf("%s: both accept: %t, want %t", e.name, both, e.fault == "")
		}
	}
	random := rand.New(rand.NewPCG(7, 8))
	both := 0
	for i := range 10_000 {
		parts := dht22Line(dht22Random(random))
		for _, bit := range random.Perm(dht22Bits)[:i%4] {
			parts[4+2*bit] = 96*time.Microsecond - parts[4+2*bit]
		}
		accepted := agree(dht22Model22, parts)
		if accepted {
			both++
		}
		if i%4 == 0 && !accepted {
			t.Errorf("a clean answer is not accepted by both")
		}
	}
	t.Logf("both accept %d of 10,000", both)
}

func TestDHT22Sysfs(t *testing.T) {
	t.Parallel()
	tree := iioTree{t, t.TempDir()}
	f := dht22Factory()
	const options = "{driver: go-dht, pin: 4}"
	want := func(text string) {
		t.Helper()
		if _, err := tree.start(f, options); err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "driver: iio") {
			t.Errorf("error %v, want %q in it and what can work", err, text)
		}
	}
	want("this kernel has no /sys/class/gpio")
	tree.write("sys/class/gpio/export", "")
	tree.write("sys/class/gpio/gpiochip512/base", "512\n") // Raspberry Pi OS with Linux 6.6
	tree.write("sys/class/gpio/gpiochip512/ngpio", "54\n")
	want("they begin at 512")
	tree.write("sys/class/gpio/gpiochip0/base", "0\n") // and with Linux 6.1
	tree.write("sys/class/gpio/gpiochip0/ngpio", "54\n")
	a, err := tree.start(f, options)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"GPIO4", "-1", "100", "54"} {
		if _, err := tree.start(f, "{driver: go-dht, pin: "+bad+"}"); err == nil {
			t.Errorf("pin %s is not refused", bad)
		}
	}
	if _, err := os.Stat("/" + dht22Sysfs + "/export"); err == nil {
		return // the library knows no root, and may not touch a line of this machine
	}
	if r, err := a.(Sampler).Sample(t.Context(), "temperature"); err == nil {
		t.Errorf("without hardware: %+v, want an error", r)
	}
}

// TestDHT22Log wants what the library says in our log, and nothing where it is not wanted.
func TestDHT22Log(t *testing.T) {
	b := dht22Library()
	b.mu.Lock()
	defer b.mu.Unlock()
	for level, want := range map[slog.Level]bool{slog.LevelDebug: true, slog.LevelInfo: false} {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))
		b.to(log)
		frame := dht22Framed(0x02, 0x8c, 0x01, 0x5f)
		if _, _, err := dht22LibraryDecode(dht.DHT22, dht22Pulses(dht22Line(frame))); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), "CRCs verified"); got != want || log.Enabled(context.Background(), level) != true {
			t.Errorf("level %v: log %q, want the library's words in it: %t", level, out.String(), want)
		}
	}
	b.to(slog.New(slog.DiscardHandler))
	if err := logger.ChangePackageLogLevel("dht", logger.WarnLevel); err != nil {
		t.Error(err)
	}
}
