package docs

import (
	"os"
	"testing"

	"rollcall/reports"
)

// TestGeneratedSchema compares the published JSON Schema of a description with what reports says.
func TestGeneratedSchema(t *testing.T) {
	const file = "description.schema.json"
	want, err := reports.MarshalDocument(reports.DescriptionSchema())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || string(got) != string(want) {
		t.Errorf("docs/%s is not what reports says: run make docs (%v)", file, err)
	}
}
