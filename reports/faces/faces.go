// Package faces lists the faces: the forms that the description of a cluster is written in.
//
// To add a face, write one package below reports/ and one line in All:
//
//  1. reports/NAME/NAME.go: `func Face() reports.Face`. Its Write is a pure function from reports.Cluster to bytes: no I/O, no clock,
//     no agent's name, the same bytes for the same cluster. Hosts are sorted, names and paths are valid, points are sorted; all
//     other texts come from strangers and are to be escaped.
//  2. A line here. `udpsrv docs --format NAME`, its completion, and the tests that hold for all faces (same bytes, hostile
//     texts, an empty cluster, nothing but reports below it) then know it. Its level among the packages is known by its place.
//
// A face that lives, such as discovery for a house's automation, is a package of the same kind whose functions turn a
// reports.Host into messages; udpmon runs it. If a face needs a fact that no description has, reports.Point grows the field.
package faces

import (
	"rollcall/reports"
	"rollcall/reports/asyncapi"
	"rollcall/reports/dot"
	"rollcall/reports/html"
	"rollcall/reports/markdown"
	"rollcall/reports/schema"
)

// All returns all faces, in the order in which they are shown.
func All() []reports.Face {
	return []reports.Face{
		markdown.Face(),
		html.Face(),
		asyncapi.Face(),
		schema.Face(),
		dot.Face(),
	}
}

// Named returns the face of that name, and whether there is one.
func Named(name string) (reports.Face, bool) {
	for _, f := range All() {
		if f.Name == name {
			return f, true
		}
	}
	return reports.Face{}, false
}
