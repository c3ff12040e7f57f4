package discover

import (
	"slices"
	"sort"
	"testing"
	"time"

	"rollcall/reports"
)

func gather(t *testing.T, c SweepConfig) ([]Answer, SweepStats) {
	t.Helper()
	var got []Answer
	stats, err := Sweep(t.Context(), c, func(a Answer) { got = append(got, a) })
	if err != nil {
		t.Fatalf("Sweep() error = %v", err)
	}
	sort.Slice(got, func(i, j int) bool { return got[i].Host.ID[7] < got[j].Host.ID[7] })
	return got, stats
}

func TestSweepFindsHosts(t *testing.T) {
	t.Parallel()
	gpio := Service{Name: "gpio", Function: "gpio", Status: reports.Online, Points: 3, Digest: [8]byte{1}}
	heat := Service{Name: "heat", Function: "ds18b20", Status: reports.Offline, Points: 1}
	a := startBed(t, "127.0.0.2:0", testHost(1, "pi", gpio, heat), nil)
	b := startBed(t, "127.0.0.3:0", testHost(2, "pi"), nil)
	got, stats := gather(t, SweepConfig{To: []string{a.addr.String(), b.addr.String()}, Sealed: true, Wait: time.Second})
	if len(got) != 2 {
		t.Fatalf("Sweep() found %d hosts, want 2 (%+v)", len(got), stats)
	}
	if got[0].Host.Hostname != "pi" || got[1].Host.Hostname != "pi" || got[0].Host.ID == got[1].Host.ID {
		t.Errorf("hosts = %v %v, %v %v, want two of the name pi", got[0].Host.Hostname, got[0].Host.ID, got[1].Host.Hostname, got[1].Host.ID)
	}
	if want := []Service{gpio, heat}; !slices.Equal(got[0].Host.Services, want) {
		t.Errorf("services = %v, want %v", got[0].Host.Services, want)
	}
	if got[0].From != a.addr || got[0].Interface != "lo" || got[0].After <= 0 {
		t.Errorf("answer from %v on %q after %v, want from %v on lo", got[0].From, got[0].Interface, got[0].After, a.addr)
	}
	if stats.Sent != 4 || stats.Wrong != 0 || stats.Elapsed >= time.Second {
		t.Errorf("stats = %+v, want 4 sent, none wrong, an end before Wait", stats)
	}
}
