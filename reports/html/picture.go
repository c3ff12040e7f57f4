package html

import (
	"fmt"
	"strings"

	"rollcall/reports"
)

// Measures of the picture of a host, in units of its drawing.
const (
	wide      = 400 // of the whole
	lineHigh  = 18  // of a point
	boxHigh   = 24  // of a host or service
	between   = 8   // services
	boxLeft   = 24  // of a service
	boxWide   = 130 // of a service
	textLeft  = 186 // of a point
	perChar   = 7.3 // width of a character, or a little more
	maxShown  = 6   // points of a service that are drawn
	textDown  = 16  // from the top of a box to the line on which its text stands
	spineLeft = 10  // of the line from the host to its services
)

// picture draws a host, lines to its services, and lines from these to their points.
func picture(b *strings.Builder, h reports.Host) {
	var parts strings.Builder
	y, last := boxHigh+between, 0
	for _, s := range h.Services {
		high := serviceHigh(s)
		last = y + high/2
		fmt.Fprintf(&parts, `<path d="M%d %dH%d"/>`, spineLeft, last, boxLeft)
		drawService(&parts, h, s, y, high)
		y += high + between
	}
	fmt.Fprintf(b, "<figure id=\"map-%s\"><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s with %s\">", h.Key, wide, y, h.Key, count(len(h.Services), "service"))
	if last > 0 {
		fmt.Fprintf(b, `<path d="M%d %dV%d"/>`, spineLeft, boxHigh, last)
	}
	name := h.Key
	if ip := reports.OneLine(h.IPAddr); ip != "" {
		name += "  " + ip
	}
	fmt.Fprintf(b, `<g class="%s"><a href="#%s"><rect x="1" y="1" width="%d" height="%d" rx="4"/><text class="name" x="10" y="%d">%s</text></a></g>`,
		class(h.Status), h.Key, wide-2, boxHigh-2, textDown, text(cut(name, wide-20)))
	b.WriteString(parts.String() + "</svg></figure>\n")
}

// drawn returns how many points of a service are drawn, and whether a line says that there are more.
func drawn(s reports.HostService) (points int, more bool) {
	if len(s.Points) > maxShown {
		return maxShown - 1, true
	}
	return len(s.Points), false
}

// serviceHigh returns how high a service is with its points.
func serviceHigh(s reports.HostService) int {
	lines, more := drawn(s)
	if more {
		lines++
	}
	return max(boxHigh, lines*lineHigh)
}

// drawService draws a service and its points from y on, high as serviceHigh says; its box stands in the middle.
func drawService(b *strings.Builder, h reports.Host, s reports.HostService, y, high int) {
	points, more := drawn(s)
	lines := points
	if more {
		lines++
	}
	middle, first := y+high/2, y+(high-lines*lineHigh)/2
	for i := range lines {
		at := first + i*lineHigh + lineHigh/2
		fmt.Fprintf(b, `<path d="M%d %dC%d %d %d %d %d %d"/>`, boxLeft+boxWide, middle, textLeft-18, middle, textLeft-18, at, textLeft-5, at)
		label, style := "", "more"
		if i < points {
			label, style = pointLabel(s.Points[i], s.Values), "point"
		} else {
			label = fmt.Sprintf("and %d more", len(s.Points)-points)
		}
		fmt.Fprintf(b, `<text class="%s" x="%d" y="%d">%s</text>`, style, textLeft, at+4, text(cut(label, wide-textLeft)))
	}
	fmt.Fprintf(b, `<g class="%s"><a href="#%s/%s"><title>%[3]s</title><rect x="%d" y="%d" width="%d" height="%d" rx="6"/><text x="%d" y="%d">%s</text></a></g>`,
		class(s.Status), h.Key, s.Name, boxLeft, middle-boxHigh/2, boxWide, boxHigh, boxLeft+8, middle-boxHigh/2+textDown, text(cut(s.Name, boxWide-14)))
}

// pointLabel is how a point is named in the picture.
func pointLabel(p reports.Point, values map[string]string) string {
	label := p.Path
	if v := reports.OneLine(values[p.Path]); v != "" {
		label += " " + v
		if u := reports.OneLine(p.Unit); u != "" {
			label += " " + u
		}
	}
	return label
}

// cut shortens a text to a width.
func cut(s string, width int) string {
	most := int(float64(width) / perChar)
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}
