package reports

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Alias is what Janitoo calls a point: a value of one of its components. Which components there are, and what their values are like, is
// in JANITOO.md §7.
type Alias struct {
	Component string            // hostsensor.load; a word without a dot is the bus itself
	Instance  string            // which of several that the service has: the boiler of rpi1wire.ds18b20@boiler; "" where there is one
	Settings  map[string]string // further values of the component that never change, such as the pin
	Value     string            // load; or product_name, product_type or product_manufacturer of the component
	Index     int               // of several of one value
	Config    string            // what tells them apart: 1 minutes
}

// maxAlias is how long an alias may be, in bytes.
const maxAlias = 512

// component[@instance][;setting=text…]/value[[index]][=config]
var alias = regexp.MustCompile(`^([a-z0-9_]+(?:\.[a-z0-9_]+)?)(?:@([A-Za-z0-9_.-]+))?((?:;[a-z0-9_]+=[^/;=\x00-\x1f]*)*)/([A-Za-z0-9_]+)(?:\[([0-9]{1,3})\])?(?:=([^\x00-\x1f]*))?$`)

// ParseAlias reads component[@instance][;setting=text…]/value[[index]][=config], as rpi1wire.ds18b20@boiler;hexadd=28-000005e2fdc3/temperature
// or hostsensor.disks/free[1]=/boot.
func ParseAlias(s string) (Alias, error) {
	m := alias.FindStringSubmatch(s)
	if m == nil || len(s) > maxAlias || !utf8.ValidString(s) {
		return Alias{}, fmt.Errorf("%.60q is no name of Janitoo's, as hostsensor.load/load[0]=1 minutes", s)
	}
	a := Alias{Component: m[1], Instance: m[2], Settings: map[string]string{}, Value: m[4], Config: m[6]}
	for part := range strings.SplitSeq(strings.TrimPrefix(m[3], ";"), ";") {
		if k, v, ok := strings.Cut(part, "="); ok {
			a.Settings[k] = v
		}
	}
	if m[5] != "" {
		i, err := strconv.Atoi(m[5])
		if err != nil {
			return Alias{}, err // three digits
		}
		a.Index = i
	}
	return a, nil
}
