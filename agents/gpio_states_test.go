package agents

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A damaged file of totals keeps nothing else from working: it is put aside, the meters begin at 0, and the error topic says so.
func TestGPIODamagedTotals(t *testing.T) {
	gpioBubble(t, "outputs: {a: {pin: 2}}", func(s *gpioStage) {
		if err := s.agent.Close(); err != nil {
			t.Error(err)
		}
		file := filepath.Join(s.dir, "gpio.totals.json")
		if err := os.WriteFile(file, []byte(`{"version":1,"tot`), 0o600); err != nil {
			t.Fatal(err)
		}
		s.begin("outputs: {a: {pin: 2, initial: on}}\ninputs: {m: {pin: 5, count: true}}")
		s.wantLevels(2, 1)
		s.wantValue("total/m", "0")
		if fault := s.link.faults["totals"]; !strings.Contains(fault, "meters begin at 0") || !strings.Contains(fault, file+".damaged") {
			t.Errorf("fault %q", fault)
		}
		if doc, err := os.ReadFile(file + ".damaged"); err != nil || string(doc) != `{"version":1,"tot` {
			t.Errorf("put aside: %s, %v", doc, err)
		}
		s.wantDo("7", "total/m", int64(7))
		if len(s.link.faults) != 0 {
			t.Errorf("faults %v", s.link.faults)
		}
	})
}
