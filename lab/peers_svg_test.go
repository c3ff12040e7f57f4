package lab

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// peerTable returns the rows as a table in Markdown.
func peerTable(rows []peerRow) string {
	var b strings.Builder
	b.WriteString("| | datagrams lost | hosts found | sweeps that found all | last of those | call returns |\n|---|---|---|---|---|---|\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %.0f %% | %.1f %% | %.0f %% | %s | %s |\n", r.name, r.lost*100, r.recall*100, r.whole*100, human(r.last), human(r.returned))
	}
	return b.String()
}

// human returns a time in milliseconds for people.
func human(ms float64) string {
	switch {
	case ms >= 1000:
		return fmt.Sprintf("%.1f s", ms/1000)
	case ms >= 10:
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f ms", ms)
}

// Sizes of the picture, in pixels.
const (
	svgWidth = 860
	svgLeft  = 250
	svgRight = 150
	svgRow   = 22
	svgTop   = 64
)

// peerSVG draws a row as a bar up to when the call returned, dark up to the last host, on a logarithmic scale, with the share of the
// hosts that were found beside it.
func peerSVG(hosts int, rows []peerRow) string {
	const from, to = 1, 20_000 // ms
	x := func(ms float64) float64 {
		return svgLeft + (svgWidth-svgLeft-svgRight)*math.Log(min(max(ms, from), to)/from)/math.Log(to/from)
	}
	height := svgTop + svgRow*len(rows) + 20
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", svgWidth, height, svgWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", svgWidth, height)
	fmt.Fprintf(&b, `<text x="10" y="20" font-size="15">Who is there? %d hosts: time until the last host that was found (dark), and until the call returned</text>`+"\n", hosts)
	for ms := 1.0; ms <= to; ms *= 10 {
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ccc"/><text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n",
			x(ms), svgTop-12, x(ms), height-16, x(ms), svgTop-18, human(ms))
	}
	for i, r := range rows {
		y := svgTop + i*svgRow
		dark, light, ink := "#1f5fa8", "#a9c8ea", "#333"
		if !strings.HasPrefix(r.name, "Rollcall") {
			dark, light = "#777", "#ccc"
		}
		if r.recall < 1 {
			ink = "#b00020"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s, %.0f %% lost</text>`, svgLeft-8, y+13, r.name, r.lost*100)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="14" fill="%s"/>`, svgLeft, y+2, x(r.returned)-svgLeft, light)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="14" fill="%s"/>`, svgLeft, y+2, x(r.last)-svgLeft, dark)
		fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s">%.1f %% of hosts, %s</text>`+"\n", svgWidth-svgRight+6, y+13, ink, r.recall*100, human(r.returned))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// writePeers writes the page and the picture.
func writePeers(t testing.TB, dir string, hosts int, rows []peerRow) {
	t.Helper()
	commit, _ := exec.Command("git", "describe", "--always", "--dirty").Output() // none outside a checkout
	text := fmt.Sprintf("# Rollcall beside others\n\nMade by `sudo lab/bench.sh peers` on %s at %s, %d processors, %s. %d hosts, each a network namespace, one way after the other\non the same bridge; \"lost\" is the share of IP datagrams that each port of the bridge drops.\n\n![%d hosts](peers.svg)\n\n%s\n%s",
		time.Now().Format(time.DateOnly), strings.TrimSpace(string(commit)), runtime.NumCPU(), runtime.Version(), hosts, hosts, peerTable(rows), peerNotes)
	for name, content := range map[string]string{"peers.md": text, "peers.svg": peerSVG(hosts, rows)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// peerNotes says how each was asked.
const peerNotes = `Rollcall's hosts have an operator: requests are signed, replies sealed, and hold what the host's agents describe. hashicorp/mdns
(v1.0.7, lab/peers) asks once and waits for its default of one second; it is given a channel with room for all, since with the one of
its README it drops most answers. avahi-browse (0.8) is ` + "`-rtp`" + `, with a daemon on the laptop that has just been started. serf (0.9.4) has
joined all hosts before; its query waits for its own time-out, its list of members is what gossip has brought. NATS has a server on
the laptop (2.9.10) to which every host is connected; nobody says when all have answered, so that the client waits for 2 s.
`

func TestPeerSVG(t *testing.T) {
	t.Parallel()
	got := peerSVG(50, []peerRow{{name: "Rollcall", lost: 0.1, recall: 1, last: 10, returned: 40}, {name: "other", recall: 0.8, last: 900, returned: 1000}})
	for _, want := range []string{"<svg ", "Rollcall, 10 % lost", "100.0 % of hosts, 40 ms", "80.0 % of hosts, 1.0 s", "</svg>"} {
		if !strings.Contains(got, want) {
			t.Errorf("picture has no %q:\n%s", want, got)
		}
	}
}
