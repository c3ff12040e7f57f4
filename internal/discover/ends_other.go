//go:build !linux

package discover

// addLinks adds nothing: package net does not tell who is at the other end of a point-to-point interface.
func addLinks([]iface) {}
