// Package html is the face that is one page for a browser, whole in itself: it asks the network for nothing. Light or dark as the
// reader has it; a picture of hosts, services and points; every point with commands to paste.
//
// All that comes from hosts is text: nothing of it stands in a script, a style or a link, and the page's own policy allows no script
// but the one that is written here.
package html

import (
	"crypto/sha256"
	_ "embed" // the style and the script of the page
	"encoding/base64"
	"fmt"
	"html"
	"strings"

	"rollcall/reports"
)

// Face returns this face.
func Face() reports.Face {
	return reports.Face{Name: "html", Doc: "one page for a browser, with a picture and commands to paste", File: "cluster.html", Write: write}
}

//go:embed page.css
var style string

//go:embed page.js
var script string

// manyPoints is how many points make a page on which services are folded up.
const manyPoints = 300

func write(c reports.Cluster) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src '%s'; script-src '%s'; base-uri 'none'; form-action 'none'">
<title>Cluster</title>
<style>%s</style>
</head>
<body>
`, digest(style), digest(script), style)
	services, points := 0, 0
	for _, h := range c.Hosts {
		services += len(h.Services)
		for _, s := range h.Services {
			points += len(s.Points)
		}
	}
	fmt.Fprintf(&b, "<header>\n<h1>Cluster</h1>\n<p class=\"soft\">%s, %s, %s</p>\n<label>Find <input type=\"search\" id=\"filter\" placeholder=\"host, service or point\"></label>\n</header>\n<main>\n",
		count(len(c.Hosts), "host"), count(services, "service"), count(points, "point"))
	b.WriteString("<h2 id=\"map\">Picture</h2>\n<div class=\"map\">\n")
	for _, h := range c.Hosts {
		picture(&b, h)
	}
	b.WriteString("</div>\n<p id=\"none\" class=\"soft\" hidden>Nothing of that name.</p>\n")
	for _, h := range c.Hosts {
		host(&b, h, points <= manyPoints)
	}
	fmt.Fprintf(&b, "</main>\n<script>%s</script>\n</body>\n</html>\n", script)
	return []byte(b.String()), nil
}

// digest names a style or script in a Content-Security-Policy.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// text returns a text from outside as HTML that shows it, within an element or an attribute in double quotes.
func text(s string) string { return html.EscapeString(reports.OneLine(s)) }

func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// class returns the class of a status, or "".
func class(s reports.Status) string {
	if s == reports.Online || s == reports.Offline {
		return string(s)
	}
	return ""
}

// host writes all about a host.
func host(b *strings.Builder, h reports.Host, open bool) {
	fmt.Fprintf(b, "<section class=\"host\" id=\"%s\" data-find=\"%s\">\n<h2>%[1]s</h2>\n<dl>\n", h.Key, text(h.Key+" "+h.ID+" "+h.IPAddr+" "+h.Model))
	for _, f := range h.Facts() {
		fmt.Fprintf(b, "<dt>%s</dt><dd>%s</dd>\n", f.Name, text(f.Value))
	}
	b.WriteString("</dl>\n")
	for _, s := range h.Services {
		service(b, h, s, open)
	}
	b.WriteString("</section>\n")
}

// service writes what a service is, and its points.
func service(b *strings.Builder, h reports.Host, s reports.HostService, open bool) {
	attr := ""
	if open || s.Error != "" {
		attr = " open"
	}
	fmt.Fprintf(b, "<details class=\"service\" id=\"%s/%s\" data-find=\"%s\"%s>\n<summary><h3>%[2]s</h3>", h.Key, s.Name, text(s.Name+" "+s.Function), attr)
	if st := class(s.Status); st != "" {
		fmt.Fprintf(b, "<span class=\"tag %s\">%[1]s</span>", st)
	}
	if s.Simulated {
		b.WriteString("<span class=\"tag soft\">simulated</span>")
	}
	if s.Described {
		fmt.Fprintf(b, "<span class=\"tag soft\">%s</span>", count(len(s.Points), "point"))
	}
	b.WriteString("</summary>\n")
	words := []string{"Function " + text(s.Function)}
	if v := text(s.Version); v != "" {
		words = append(words, "version "+v)
	}
	fmt.Fprintf(b, "<p class=\"soft\">%s</p>\n", strings.Join(words, ", "))
	if e := text(s.Error); e != "" {
		fmt.Fprintf(b, "<p class=\"error\">Last error: %s</p>\n", e)
	}
	switch {
	case !s.Described:
		b.WriteString("<p>It has no description that could be read: its points are not known.</p>\n")
	case len(s.Points) > 0:
		value := ""
		if s.Values != nil {
			value = "<th>Value</th>"
		}
		b.WriteString("<table>\n<thead><tr><th>Point</th>" + value + "<th>Type</th><th>Access</th></tr></thead>\n")
		for _, p := range s.Points {
			point(b, h, s, p)
		}
		b.WriteString("</table>\n")
	}
	b.WriteString("</details>\n")
}

// point writes the two rows of a point: what it is, and how it is used.
func point(b *strings.Builder, h reports.Host, s reports.HostService, p reports.Point) {
	what := text(p.What())
	fmt.Fprintf(b, "<tbody data-find=\"%s %s\"><tr><td><code>%[1]s</code>", p.Path, what)
	small(b, what)
	b.WriteString("</td>")
	if s.Values != nil {
		value := "–"
		if v := text(s.Values[p.Path]); v != "" {
			value = strings.TrimSpace(v + " " + text(p.Unit))
		}
		b.WriteString("<td data-is=\"Value\">" + value + "</td>")
	}
	b.WriteString("<td data-is=\"Type\">" + string(p.Type))
	var of []string
	for _, w := range []string{p.Bounds(), p.Unit, p.Class} {
		if w = text(w); w != "" {
			of = append(of, w)
		}
	}
	small(b, strings.Join(of, ", "))
	b.WriteString("</td><td data-is=\"Access\">" + p.Access.String())
	if e := p.Every(); e != "" {
		small(b, "every "+e)
	}
	b.WriteString("</td></tr>\n<tr class=\"paste\"><td colspan=\"4\"><details><summary>Commands</summary><ul>\n")
	for _, line := range h.Commands(s, p) {
		fmt.Fprintf(b, "<li><code>%s</code><button type=\"button\">Copy</button></li>\n", html.EscapeString(line))
	}
	b.WriteString("</ul></details></td></tr></tbody>\n")
}

// small writes HTML in small letters, if there is any.
func small(b *strings.Builder, s string) {
	if s != "" {
		b.WriteString(" <small>" + s + "</small>")
	}
}
