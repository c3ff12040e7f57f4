// Package dot is the face that is a graph for Graphviz: hosts, their services, and in each service its points. Draw it with
// `dot -Tsvg`.
package dot

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"

	"rollcall/reports"
)

// Face returns this face.
func Face() reports.Face {
	return reports.Face{Name: "dot", Doc: "graph for Graphviz: hosts, services, points", File: "cluster.dot", Write: write}
}

// Colours of a service's frame by its status: green and red that people who can't tell them apart still see as dark and light.
const (
	green = "#1a7f37"
	red   = "#cf222e"
	grey  = "#6e7781"
)

func write(c reports.Cluster) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("digraph cluster {\n\tgraph [rankdir=LR, fontname=\"sans-serif\", bgcolor=transparent]\n" +
		"\tnode [shape=box, style=\"rounded,filled\", fillcolor=white, fontname=\"sans-serif\", fontsize=11]\n\tedge [color=\"" + grey + "\", arrowsize=0.6]\n")
	for _, h := range c.Hosts {
		lines := []string{h.Key, reports.OneLine(h.IPAddr), reports.OneLine(h.Model)}
		fmt.Fprintf(&b, "\t%s [label=%s, shape=box3d, style=filled, color=\"%s\"]\n", quote(h.Key), label(lines, `\n`), colour(h.Status))
		for _, s := range h.Services {
			fmt.Fprintf(&b, "\t%s [label=%s, color=\"%s\"]\n", quote(h.Key+"/"+s.Name), label(service(s), `\l`), colour(s.Status))
			fmt.Fprintf(&b, "\t%s -> %s\n", quote(h.Key), quote(h.Key+"/"+s.Name))
		}
	}
	b.WriteString("}\n")
	return b.Bytes(), nil
}

// service returns the lines about a service: what it is, what is wrong, and its points.
func service(s reports.HostService) []string {
	first := s.Name
	if s.Function != s.Name {
		first += ": " + reports.OneLine(s.Function)
	}
	if s.Simulated {
		first += ", simulated"
	}
	if s.Status == reports.Offline {
		first += ", offline"
	}
	lines := []string{first}
	if e := reports.OneLine(s.Error); e != "" {
		lines = append(lines, "! "+e)
	}
	for _, p := range s.Points {
		line := p.Path + "  " + string(p.Type)
		if v := reports.OneLine(s.Values[p.Path]); v != "" {
			line = p.Path + " = " + cut(v)
		}
		if u := reports.OneLine(p.Unit); u != "" {
			line += " " + u
		}
		lines = append(lines, line)
	}
	return lines
}

// longest is how much of a text a line shows, in characters.
const longest = 40

// cut shortens a text to longest characters.
func cut(s string) string {
	if r := []rune(s); len(r) > longest {
		return string(r[:longest]) + "…"
	}
	return s
}

// colour returns the colour of a status.
func colour(s reports.Status) string {
	switch s {
	case reports.Online:
		return green
	case reports.Offline:
		return red
	}
	return grey
}

// quote returns a text as a string of DOT that means the text: no escape (\N, \l) and no entity (&lt;) of Graphviz works in it.
func quote(s string) string { return `"` + escape(s) + `"` }

var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;")

func escape(s string) string { return escaper.Replace(reports.OneLine(s)) }

// label returns lines as one string, each with an end that aligns it; empty ones are left out.
func label(lines []string, end string) string {
	var b strings.Builder
	for _, l := range lines {
		if l != "" {
			b.WriteString(escape(cut(l)) + end)
		}
	}
	return `"` + cmp.Or(strings.TrimSuffix(b.String(), `\n`), " ") + `"`
}
