// Package markdown is the face that is Markdown, as GitHub reads it: a page of the cluster, and in a folder a page for each host.
// The pages of the agents in docs/ are made of its parts.
package markdown

import (
	"fmt"
	"strings"

	"rollcall/reports"
)

// Face returns this face.
func Face() reports.Face {
	return reports.Face{Name: "markdown", Doc: "Markdown: every host, service and point, with commands to paste", File: "cluster.md", Write: write, Parts: parts}
}

func write(c reports.Cluster) ([]byte, error) {
	var b strings.Builder
	b.WriteString("# Cluster\n\n")
	index(&b, c, func(h reports.Host) string { return "#" + anchor(h) })
	for _, h := range c.Hosts {
		host(&b, h, "##")
	}
	return []byte(strings.TrimRight(b.String(), "\n") + "\n"), nil
}

// parts are a page for each host and the list of them.
func parts(c reports.Cluster) ([]reports.File, error) {
	var list strings.Builder
	list.WriteString("# Hosts\n\n")
	index(&list, c, func(h reports.Host) string { return "hosts/" + h.Key + ".md" })
	out := []reports.File{{Name: "hosts.md", Data: []byte(list.String())}}
	for _, h := range c.Hosts {
		var b strings.Builder
		host(&b, h, "#")
		out = append(out, reports.File{Name: "hosts/" + h.Key + ".md", Data: []byte(strings.TrimRight(b.String(), "\n") + "\n")})
	}
	return out, nil
}

// index writes the table of the hosts.
func index(b *strings.Builder, c reports.Cluster, link func(reports.Host) string) {
	services, points := 0, 0
	rows := [][]string{}
	for _, h := range c.Hosts {
		var names []string
		for _, s := range h.Services {
			points += len(s.Points)
			name := "`" + s.Name + "`"
			if s.Status == reports.Offline {
				name += " (offline)"
			}
			names = append(names, name)
		}
		services += len(h.Services)
		rows = append(rows, []string{"[" + h.Key + "](" + link(h) + ")", Text(h.IPAddr), Text(h.Model), strings.Join(names, ", ")})
	}
	fmt.Fprintf(b, "%s, %s, %s.\n\n", count(len(c.Hosts), "host"), count(services, "service"), count(points, "point"))
	if len(rows) > 0 {
		Table(b, []string{"host", "address", "model", "services"}, rows)
	}
}

// anchor returns the link to a host's heading, as GitHub makes it.
func anchor(h reports.Host) string { return strings.ToLower(h.Key) }

// host writes all about a host below a heading.
func host(b *strings.Builder, h reports.Host, heading string) {
	fmt.Fprintf(b, "%s %s\n\n", heading, h.Key)
	var rows [][]string
	for _, f := range h.Facts() {
		rows = append(rows, []string{f.Name, Text(f.Value)})
	}
	if len(rows) > 0 {
		Table(b, []string{"", ""}, rows)
	}
	for _, s := range h.Services {
		fmt.Fprintf(b, "%s# %s\n\n", heading, h.Key+"/"+s.Name)
		service(b, h, s)
	}
}

// service writes what a service is, its points and how they are used.
func service(b *strings.Builder, h reports.Host, s reports.HostService) {
	words := []string{"Function " + Text(s.Function)}
	if v := Text(s.Version); v != "" {
		words = append(words, "version "+v)
	}
	if s.Status == reports.Online || s.Status == reports.Offline {
		words = append(words, string(s.Status))
	}
	if s.Simulated {
		words = append(words, "simulated: there is no hardware behind it")
	}
	b.WriteString(strings.Join(words, ", ") + ".\n\n")
	if e := Text(s.Error); e != "" {
		b.WriteString("Its last error: " + e + "\n\n")
	}
	if !s.Described {
		b.WriteString("It has no description that could be read: its points are not known.\n\n")
		return
	}
	Points(b, s.Points, s.Values)
	var lines []string
	for _, p := range s.Points {
		lines = append(lines, h.Commands(s, p)...)
	}
	if len(lines) == 0 {
		return
	}
	if _, ok := h.PlainBroker(); !ok {
		b.WriteString("`mosquitto_pub` and `mosquitto_sub` work on the host itself; `udpsrv` from everywhere.\n\n")
	}
	b.WriteString("```sh\n" + strings.Join(lines, "\n") + "\n```\n\n")
}

// Points writes the table of points. values may be nil.
func Points(b *strings.Builder, points []reports.Point, values map[string]string) {
	head := []string{"path", "type", "access", "unit", "class", "every", "what"}
	if values != nil {
		head = append(head, "last value")
	}
	var rows [][]string
	for _, p := range points {
		kind := string(p.Type)
		if bounds := p.Bounds(); bounds != "" {
			kind += ", " + Text(bounds)
		}
		row := []string{"`" + p.Path + "`", kind, Text(p.Access.String()), Text(p.Unit), Text(p.Class), p.Every(), Text(p.What())}
		if values != nil {
			row = append(row, Text(values[p.Path]))
		}
		rows = append(rows, row)
	}
	Table(b, head, rows)
}

// Table writes a table; its cells are Markdown already, without line ends and bars.
func Table(b *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) { b.WriteString("| " + strings.Join(cells, " | ") + " |\n") }
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		line(r)
	}
	b.WriteString("\n")
}

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// escaper puts a backslash before all that may begin something of Markdown within a line.
var escaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "&", `\&`, "|", `\|`, "~", `\~`, "$", `\$`,
	"://", `:\//`, "www.", `www\.`, "@", `\@`)

// Text returns a text from outside as Markdown that shows it, in one line, in a paragraph or a cell: nothing in it is a tag, a link,
// an image, code, emphasis, a formula or the end of a cell.
func Text(s string) string { return escaper.Replace(reports.OneLine(s)) }
