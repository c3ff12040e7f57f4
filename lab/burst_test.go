package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rollcall/reports"
)

// Every command of a burst gets its one result, whichever broker is between: services receive commands at QoS 0.
func TestBurstThroughEitherBroker(t *testing.T) {
	Need(t, "mosquitto", "mosquitto_pub", "mosquitto_sub")
	const n = 1000
	l := NewLAN(t, 2)
	for i, mosquitto := range []bool{true, false} {
		host := l.Boot(i+1, HostConfig{Mosquitto: mosquitto})
		t.Run(fmt.Sprintf("mosquitto %v", mosquitto), func(t *testing.T) {
			topic := "/" + host.Name + "/gpio/"
			sub := l.Start(i+1, false, "stdbuf", "-oL", "mosquitto_sub", "-d", "-q", "1", "-t", topic+"result")
			sub.WaitLine("Subscribed", patience)
			var commands strings.Builder
			for id := range n {
				fmt.Fprintf(&commands, `{"value":"toggle","id":%d}`+"\n", id)
			}
			file := filepath.Join(t.TempDir(), "commands")
			if err := os.WriteFile(file, []byte(commands.String()), 0o644); err != nil {
				t.Fatal(err)
			}
			run(t, l, i+1, "sh", "-c", "mosquitto_pub -q 1 -l -t "+topic+"set/output/nosuch <"+file)
			eventually(t, []string{"1000 results of 1000 commands"}, func() []string {
				results, ids := 0, map[reports.ID]bool{}
				for _, line := range sub.Lines() {
					var r reports.Result
					if json.Unmarshal([]byte(line), &r) == nil {
						results++
						ids[r.ID] = true
					}
				}
				return []string{fmt.Sprintf("%d results of %d commands", results, len(ids))}
			})
			sub.Kill()
		})
	}
}
