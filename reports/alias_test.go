package reports

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseAlias(t *testing.T) {
	t.Parallel()
	none := map[string]string{}
	for s, want := range map[string]Alias{
		"hostsensor.load/load[2]=15 minutes": {Component: "hostsensor.load", Settings: none, Value: "load", Index: 2, Config: "15 minutes"},
		"hostsensor.disks/free[0]=/a/b=c;d":  {Component: "hostsensor.disks", Settings: none, Value: "free", Config: "/a/b=c;d"},
		"rpi1wire.ds18b20@boiler;hexadd=28-000005e2fdc3/temperature": {Component: "rpi1wire.ds18b20", Instance: "boiler",
			Settings: map[string]string{"hexadd": "28-000005e2fdc3"}, Value: "temperature"},
		"rpigpio.sonic;pin_trig=20;pin_echo=/state": {Component: "rpigpio.sonic", Settings: map[string]string{"pin_trig": "20", "pin_echo": ""}, Value: "state"},
		"tutorial3/tutorial3_state":                 {Component: "tutorial3", Settings: none, Value: "tutorial3_state"},
	} {
		if got, err := ParseAlias(s); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseAlias(%q) = %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "/", "load", "a.b.c/d", "a/b/c", "a/b[1000]", "a/b[x]", "a;b/c", "A/b", "a@/b", "a/b=\n", "a/b=\xff", "a/" + strings.Repeat("b", 600)} {
		if got, err := ParseAlias(s); err == nil {
			t.Errorf("ParseAlias(%q) = %+v", s, got)
		}
		if err := (Point{Path: "x", Type: Int, Access: Get, Janitoo: s}).Validate(); (err == nil) != (s == "") {
			t.Errorf("Validate of %q = %v", s, err)
		}
	}
}

// FuzzParseAlias holds that what is accepted can be a part of a topic.
func FuzzParseAlias(f *testing.F) {
	f.Add("hostsensor.load/load[2]=15 minutes")
	f.Add("rpi1wire.ds18b20@boiler;hexadd=28-000005e2fdc3/temperature")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := ParseAlias(s)
		if err != nil {
			return
		}
		if ValidPath("x/"+a.Value) != nil || ValidPath("x/"+a.Component) != nil || a.Index > 999 {
			t.Errorf("ParseAlias(%q) = %+v", s, a)
		}
	})
}
