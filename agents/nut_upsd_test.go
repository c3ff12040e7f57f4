package agents

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rollcall/reports"
)

// nutPaths are the points that can be read.
func nutPaths(n *nut) []string {
	var out []string
	for _, p := range n.Describe().Points {
		if p.Access.Has(reports.Get) {
			out = append(out, p.Path)
		}
	}
	return out
}

// read reads all points.
func (s *nutServer) read(n *nut) (map[string]any, error) {
	readings, err := n.SampleAll(s.t.Context(), nutPaths(n))
	out := map[string]any{}
	for _, r := range readings {
		out[r.Path] = r.Value
	}
	return out, err
}

// TestNUTReal and TestNUTRealLost go through what can happen to a real UPS and its upsd. They are few, because a driver and upsd
// need three seconds to find each other.
func TestNUTReal(t *testing.T) {
	t.Parallel()
	s := startUPSD(t)
	nutValues(t, s)
	nutOnBattery(t, s)
	nutForcedShutdown(t, s)
}

func TestNUTRealLost(t *testing.T) {
	t.Parallel()
	s := startUPSD(t)
	nutLogin(t, s)
	nutKilledAndBack(t, s)
	nutDriverLost(t, s)
}

func nutValues(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{}) // upsd says itself which UPS it has
	got, err := s.read(n)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]any{
		"battery/charge": 100.0, "battery/voltage": 13.7, "battery/runtime": int64(1800), "battery/chemistry": "PbAc", "ups/load": 12.5,
		"ups/status": "OL CHRG", "ups/text": "on line power, charging", "ups/manufacturer": `Acme "Power"`,
		"flag/on_line": true, "flag/charging": true, "flag/on_battery": false, "flag/low_battery": false, "flag/overloaded": false,
	} {
		if got[path] != want {
			t.Errorf("%s = %v, want %v", path, got[path], want)
		}
	}
	if _, ok := got["input/voltage"]; ok {
		t.Error("there is a point for a variable that the UPS has not")
	}
	service := n.Describe()
	service.Name = "nut"
	if err := service.Validate(); err != nil || service.Simulated {
		t.Errorf("service: %v, simulated %v", err, service.Simulated)
	}
	if _, err := s.agent(nutOptions{UPS: "other"}); err == nil || !strings.Contains(err.Error(), `UNKNOWN-UPS: upsd has no UPS "other"`) {
		t.Errorf("a UPS that is not there: %v", err)
	}
}

// A change of the UPS is seen at the next poll after its driver has seen it, and told once as an event.
func nutOnBattery(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{})
	for _, step := range []struct {
		status, charge string
		events         []reports.Reading
	}{
		{"OB DISCHRG", "60", []reports.Reading{{Path: "on_battery", Value: true}}},
		{"OB DISCHRG LB", "15", []reports.Reading{{Path: "low_battery", Value: true}}},
		{"OL CHRG", "20", []reports.Reading{{Path: "on_battery", Value: false}, {Path: "low_battery", Value: false}}},
	} {
		s.set(step.status, step.charge)
		polls := 0
		nutUntil(t, s.driver, func() error {
			got, err := s.read(n)
			polls++
			if err == nil && got["ups/status"] != step.status {
				err = fmt.Errorf("status %v, want %s", got["ups/status"], step.status)
			}
			if on := nutHas(step.status, "OB"); err == nil && (got["flag/on_battery"] != on || got["flag/on_line"] == on) {
				t.Errorf("%s: on battery %v, on line %v", step.status, got["flag/on_battery"], got["flag/on_line"])
			}
			return err
		})
		for _, want := range step.events { // they are there when the poll that saw the change has returned
			select {
			case got := <-n.Events():
				if got.Path != want.Path || got.Value != want.Value || got.Time.IsZero() {
					t.Errorf("%s: event %+v, want %+v", step.status, got, want)
				}
			default:
				t.Errorf("%s: no event %s", step.status, want.Path)
			}
		}
		if len(n.Events()) > 0 {
			t.Errorf("%s: one event more, %+v", step.status, <-n.Events())
		}
	}
}

func nutKilledAndBack(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{UPS: "dummy", Username: nutUser, PasswordFile: filepath.Join(s.dir, "password")})
	if _, err := s.read(n); err != nil {
		t.Fatal(err)
	}
	s.upsd.kill()
	for range 2 {
		if got, err := s.read(n); err == nil || len(got) > 0 || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("without upsd: %v, %v", got, err)
		}
	}
	if _, err := s.agent(nutOptions{}); err == nil || !strings.Contains(err.Error(), "LISTEN") {
		t.Errorf("a start without upsd: %v", err)
	}
	s.start()
	if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" {
		t.Errorf("upsd is back: %v, %v", got, err)
	}
	// Started anew between two polls: the poll after it finds the connection closed, and makes another one. The password is
	// another one by now: that is told, and cured when the file has it.
	s.upsd.kill()
	s.write("upsd.users", "[monitor]\n password = new\n upsmon secondary\n")
	s.start()
	if _, err := s.read(n); err == nil || !strings.Contains(err.Error(), "ACCESS-DENIED") {
		t.Errorf("the password has changed: %v", err)
	}
	s.write("password", "new")
	if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" {
		t.Errorf("the file has the new password: %v, %v", got, err)
	}
}

// nutDriverLost kills the driver alone: upsd answers, and has nothing to say.
func nutDriverLost(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{})
	s.driver.kill()
	nutUntil(t, s.upsd, func() error {
		got, err := s.read(n)
		if err == nil {
			return fmt.Errorf("the driver is gone, and there is %v", got)
		}
		if len(got) > 0 || !strings.Contains(err.Error(), "nut-driver@dummy") {
			t.Errorf("the driver is gone: %v, %v", got, err)
		}
		return nil
	})
	s.startDriver()
	nutUntil(t, s.upsd, func() error { _, err := s.read(n); return err })
}

func nutLogin(t *testing.T, s *nutServer) {
	t.Helper()
	file := filepath.Join(s.dir, "password")
	s.write("password", nutSecret+"\n")
	n := s.must(nutOptions{UPS: "dummy", Username: nutUser, PasswordFile: file})
	if got, err := s.read(n); err != nil || got["ups/status"] != "OL CHRG" {
		t.Errorf("with a login: %v, %v", got, err)
	}
	if got := s.logins(); got != 1 {
		t.Errorf("upsd counts %d logins, want 1", got)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	nutUntil(t, s.upsd, func() error {
		if got := s.logins(); got != 0 {
			return fmt.Errorf("after Close upsd counts %d logins", got)
		}
		return nil
	})
	for name, o := range map[string]nutOptions{
		"password": {Username: nutUser, Password: "wrong"}, "user": {Username: "nobody", Password: nutSecret},
	} {
		if _, err := s.agent(o); err == nil || !strings.Contains(err.Error(), "login: upsd says ACCESS-DENIED: the password or the user") ||
			strings.Contains(err.Error(), "wrong\"") || strings.Contains(err.Error(), nutSecret) {
			t.Errorf("wrong %s: %v", name, err)
		}
	}
}

// logins asks upsd how many clients have logged in for the UPS.
func (s *nutServer) logins() int {
	s.t.Helper()
	c := newNUTClient(nutOptions{Address: s.address(), UPS: "dummy"}, new(net.Dialer).DialContext)
	defer c.close()
	if _, err := c.list(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), nutDeadline)
	defer cancel()
	var words []string
	if err := c.during(ctx, func() (err error) {
		if err = c.send("GET NUMLOGINS dummy"); err == nil {
			words, err = c.receive()
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// When the primary shuts down, whoever has logged in must be gone, or it waits for them.
func nutForcedShutdown(t *testing.T, s *nutServer) {
	t.Helper()
	n := s.must(nutOptions{Username: nutUser, Password: nutSecret})
	s.set("OB LB FSD", "5")
	nutUntil(t, s.upsd, func() error {
		got, err := s.read(n)
		if err == nil && got["flag/forced_shutdown"] != true {
			err = fmt.Errorf("status %v", got["ups/status"])
		}
		return err
	})
	nutUntil(t, s.upsd, func() error {
		if got := s.logins(); got != 0 {
			return fmt.Errorf("upsd counts %d logins", got)
		}
		return nil
	})
}
