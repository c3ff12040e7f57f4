package agents_test

import (
	"testing"

	"rollcall/agents"
	"rollcall/agents/agentstest"
)

// TestIIOConformance runs the suite on trees of devices. It is not parallel: see agentstest.Run.
func TestIIOConformance(t *testing.T) {
	for _, tt := range []struct{ name, kind, tree, options string }{
		{"ads1015", "ain", "ain/ads1015", "device: 1-0048"},
		{"mcp3008", "ain", "ain/mcp3008", "device: mcp3008\nchannels: {pair: {channel: voltage0-voltage1, unit: \"%\", table: [{at: -3.3, is: 0}, {at: 3.3, is: 100}]}}"},
		{"mcp4725", "dac", "dac/mcp4725", "device: mcp4725\noutputs: {valve: {channel: voltage0, max: 3.3, safe: 0.5}}"},
		{"slew", "dac", "dac/mcp4725", "device: pot\noutputs: {voltage0: {slew: 2}, voltage1: {min: 1, max: 4, initial: 2}}"},
		{"line", "dac", "dac/mcp4725", "driver: pwm\nchip: sim\noutputs: {heat: {pin: 18, initial: 1.1}}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, f := range agents.All() {
				if f.Name == tt.kind {
					agentstest.Run(t, f, agents.Deps{Root: agents.IIORoot(t, tt.tree)}, tt.options)
				}
			}
		})
	}
}
