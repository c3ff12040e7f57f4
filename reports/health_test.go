package reports

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestParseHealth(t *testing.T) {
	t.Parallel()
	full := Health{Since: time.Unix(1_800_000_000, 0).UTC(), Reads: 1, ReadErrors: 2, Events: 3, Commands: 4, CommandErrors: 5, Publishes: 6, Failures: 7, Connects: 8, Dropped: 9}
	payload, err := json.Marshal(full)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := ParseHealth(payload); !ok || got != full {
		t.Errorf("ParseHealth(%s) = %+v, %v", payload, got, ok)
	}
	seen := map[string]bool{}
	for i, c := range full.Counters() {
		if c.Value != uint64(i+1) || seen[c.Name] || !strings.Contains(string(payload), `"`+c.Name+`":`) || c.Help == "" {
			t.Errorf("counter %d is %+v", i, c)
		}
		seen[c.Name] = true
	}
	if h, ok := ParseHealth([]byte(`{"reads":3}`)); !ok || h.Reads != 3 {
		t.Errorf("a part of a health is %+v, %v", h, ok)
	}
	for _, bad := range []string{"", "online", "[]", `{"reads":-1}`, `{"reads":1.5}`, `{"since":"yesterday"}`, `{"x":"` + strings.Repeat("x", maxHealth) + `"}`} {
		if h, ok := ParseHealth([]byte(bad)); ok || h != (Health{}) {
			t.Errorf("ParseHealth(%.40s) = %+v, want none", bad, h)
		}
	}
}

func FuzzParseHealth(f *testing.F) {
	f.Add([]byte(`{"since":"2026-01-02T03:04:05Z","reads":1}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, ok := ParseHealth(payload)
		if !ok {
			return
		}
		again, err := json.Marshal(h)
		if err != nil {
			t.Skip("a year that JSON does not take")
		}
		if back, ok := ParseHealth(again); !ok || !back.Since.Equal(h.Since) || back.Reads != h.Reads {
			t.Errorf("%+v became %+v", h, back)
		}
	})
}
