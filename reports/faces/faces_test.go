package faces_test

import (
	"bytes"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"rollcall/reports"
	"rollcall/reports/faces"
	"rollcall/reports/reportstest"
)

// each runs a test for every face.
func each(t *testing.T, test func(t *testing.T, f reports.Face)) {
	for _, f := range faces.All() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			test(t, f)
		})
	}
}

// all returns everything that a face writes.
func all(t *testing.T, f reports.Face, c reports.Cluster) []byte {
	t.Helper()
	whole, err := f.Write(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(whole) == 0 || whole[len(whole)-1] != '\n' {
		t.Errorf("the document has %d bytes and does not end with a line", len(whole))
	}
	if f.Parts == nil {
		return whole
	}
	parts, err := f.Parts(c)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{f.File: true}
	for _, p := range parts {
		if seen[p.Name] || p.Name != path.Clean(p.Name) || path.IsAbs(p.Name) || strings.HasPrefix(p.Name, "..") {
			t.Errorf("part %q stands twice or outside of the folder", p.Name)
		}
		seen[p.Name] = true
		whole = append(append(whole, p.Name...), p.Data...)
	}
	return whole
}

func TestNames(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, f := range faces.All() {
		if got, ok := faces.Named(f.Name); !ok || got.Doc != f.Doc || seen[f.Name] || f.Doc == "" || f.File == "" || f.File != path.Base(f.File) {
			t.Errorf("face %q is not there once, or lacks words: %q, %q", f.Name, f.Doc, f.File)
		}
		seen[f.Name] = true
	}
	if _, ok := faces.Named("none"); ok {
		t.Error("there is a face called none")
	}
}

// The same cluster gives the same bytes, however it was put together; nothing of it is changed.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f reports.Face) {
		want := all(t, f, reportstest.Cluster(5, 4))
		shuffle := rand.New(rand.NewPCG(1, 2))
		for range 5 {
			hosts := reportstest.Cluster(5, 4).Hosts
			shuffle.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
			for _, h := range hosts {
				shuffle.Shuffle(len(h.Services), func(i, j int) { h.Services[i], h.Services[j] = h.Services[j], h.Services[i] })
				for _, s := range h.Services {
					slices.Reverse(s.Points)
				}
			}
			if got := all(t, f, reports.NewCluster(hosts)); !bytes.Equal(got, want) {
				t.Fatal("the same cluster in another order gave other bytes")
			}
		}
	})
}

// Whatever hosts say, there is a document, and it has no character that misleads who reads it.
func TestHostile(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, f reports.Face) {
		for _, c := range []reports.Cluster{{}, reportstest.Cluster(0, 0), reportstest.Hostile()} {
			if got := all(t, f, c); bytes.ContainsAny(got, "\x00\x1b\u202e") {
				t.Error("a control character of a host stands in the document")
			}
		}
	})
}

func BenchmarkFaces(b *testing.B) {
	c := reportstest.Cluster(100, 8)
	for _, f := range faces.All() {
		b.Run(f.Name, func(b *testing.B) {
			for b.Loop() {
				whole, err := f.Write(c)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(float64(len(whole)), "bytes")
			}
		})
	}
}
