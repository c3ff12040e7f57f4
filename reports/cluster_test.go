package reports_test

import (
	"slices"
	"testing"

	"rollcall/reports"
)

func TestNewCluster(t *testing.T) {
	t.Parallel()
	service := func(name string, points ...string) reports.HostService {
		s := reports.HostService{Service: reports.Service{Name: name, Function: "test"}, Described: true}
		for _, p := range points {
			s.Points = append(s.Points, reports.Point{Path: p, Type: reports.Bool, Access: reports.Get})
		}
		return s
	}
	hosts := []reports.Host{
		{Name: "b", ID: "2222222222222222", Services: []reports.HostService{service("z", "q", "a"), service("m"), service("z", "other"), service("bad name")}},
		{Name: "b", ID: "1111111111111111"}, {Name: "b", ID: "1111110000000000"}, {Name: "b"},
		{Name: "no name"}, {Name: "a", Services: []reports.HostService{service("twice", "x", "x"), {Service: reports.Service{Name: "old", Function: "f", Points: []reports.Point{{Path: "/"}}}}}},
	}
	for range 2 {
		var got []string
		for _, h := range reports.NewCluster(hosts).Hosts {
			line := h.Key
			for _, s := range h.Services {
				line += " " + s.Name + s.Inputs
				for _, p := range s.Points {
					line += "," + p.Path
				}
			}
			got = append(got, line)
		}
		want := []string{"a old/a/old/set", "b-0", "b-111111", "b-111111-2", "b-222222 m/b/m/set z/b/z/set,a,q"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		slices.Reverse(hosts[1:4])
	}
	if p := hosts[0].Services[0].Points; p[0].Path != "q" {
		t.Error("NewCluster has sorted the caller's own points")
	}
}

func TestOneLine(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", " a\n\t b ": "a b", "x\x1b[31m\u202ey\x00": "x[31my", "°C \xff": "°C \ufffd", "a\u2028b": "a b"} {
		if got := reports.OneLine(in); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", in, got, want)
		}
	}
}
