package dot_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"rollcall/reports"
	"rollcall/reports/dot"
	"rollcall/reports/reportstest"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	h := reportstest.Host(0, 1)
	h.Services[0].Points, h.Services[0].Error = h.Services[0].Points[:2], `no "sensor" \N`
	b, err := dot.Face().Write(reports.NewCluster([]reports.Host{h}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"pi000" [label="pi000\n10.0.0.1\nRaspberry Pi Zero 2 W", shape=box3d`, `"pi000" -> "pi000/service0"`,
		`"pi000/service0" [label="service0: test\l! no \"sensor\" \\N\linput/door = OFF\loutput/pump = ON\l", color="#1a7f37"]`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s\nhas no %s", b, want)
		}
	}
}

// Graphviz draws what hosts say as text, and makes nothing of it.
func TestGraphviz(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("dot"); err != nil {
		t.Skip("Graphviz is missing (apt-get install graphviz)")
	}
	for name, c := range map[string]reports.Cluster{"usual": reportstest.Cluster(5, 4), "hostile": reportstest.Hostile(), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := dot.Face().Write(c)
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), "dot", "-Tsvg")
			cmd.Stdin = bytes.NewReader(b)
			var errs bytes.Buffer
			cmd.Stderr = &errs
			svg, err := cmd.Output()
			if err != nil || strings.Contains(errs.String(), "rror") {
				t.Fatalf("dot: %v %s", err, errs.String())
			}
			nodes, edges := 0, 0
			for _, h := range c.Hosts {
				nodes += 1 + len(h.Services)
				edges += len(h.Services)
			}
			if got := strings.Count(string(svg), `class="node"`); got != nodes {
				t.Errorf("%d nodes are drawn, want %d", got, nodes)
			}
			if got := strings.Count(string(svg), `class="edge"`); got != edges {
				t.Errorf("%d edges are drawn, want %d", got, edges)
			}
			for _, evil := range []string{"<script", "<img", "<a ", "xlink:href"} {
				if strings.Contains(string(svg), evil) {
					t.Errorf("the drawing has %q", evil)
				}
			}
		})
	}
}
