package janitoo

import (
	"fmt"
	"maps"
	"net"
	"path"
	"regexp"
	"slices"
	"strings"

	"rollcall/reports"
)

// instances returns the keys <value>_config_N of the values named, in the order of the file.
func (p part) instances(values ...string) (out []*key) {
	for _, k := range p.keys {
		value, index, ok := strings.Cut(k.name, "_config_")
		if _, number := whole(index); ok && number && slices.Contains(values, value) && !k.taken {
			out = append(out, k)
		}
	}
	return out
}

// mounts carries the mount points of the disks over.
func (p part) mounts(a *agent) {
	options, _ := a.options["mounts"].(map[string][]string)
	if options == nil {
		options = map[string][]string{}
	}
	for _, k := range p.instances("partition", "total", "used", "free", "percent_use") {
		switch {
		case !path.IsAbs(k.value) || !plain(k.value) || strings.ContainsAny(k.value, `*?[\`):
			p.refuse(k, "it is no mount point")
		case !slices.Contains(options["include"], k.value):
			options["include"] = append(options["include"], k.value)
		}
		k.taken = true
	}
	if len(options["include"]) > 0 {
		a.options["mounts"] = options
	}
}

// processes carries the files with the numbers of processes over.
func (p part) processes(a *agent) {
	options, _ := a.options["processes"].(map[string]map[string]string)
	if options == nil {
		options = map[string]map[string]string{}
	}
	known := []string{"memory_rss", "memory_vms", "io_counters_read", "io_counters_write", "connections", "num_threads", "open_files",
		"num_ctx_switches_voluntary", "num_ctx_switches_involuntary", "num_fds", "cpu_percent", "memory_percent"}
	for _, k := range p.instances(known...) {
		if !path.IsAbs(k.value) || !plain(k.value) {
			p.refuse(k, "it is no absolute path")
			continue
		}
		k.taken = true
		name := word(strings.TrimSuffix(path.Base(k.value), ".pid"))
		name = unique(name, func(s string) bool { return options[s] != nil && options[s]["pid_file"] != k.value })
		options[name] = map[string]string{"pid_file": k.value}
	}
	if len(options) > 0 {
		a.options["processes"] = options
	}
}

// sensors says what becomes of the sensors that lm-sensors was asked for.
func (p part) sensors(*agent) {
	for _, k := range p.instances("temperature") {
		p.refuse(k, "every temperature that the kernel knows is reported, by the name of its sensor")
	}
	for _, k := range p.instances("voltage") {
		p.refuse(k, "no agent reports the voltages of lm-sensors")
	}
	if k := p.find("config_filename_0"); k != nil {
		p.refuse(k, "the kernel's own names are used, not libsensors")
	}
}

func (p part) cpu() *agent {
	a := p.add(p.name, "cpu", p.bus, p.section)
	if k := p.find("cpu_governor_0"); k != nil {
		p.refuse(k, "the kernel's governor stands; `set_governor: true` lets it be set, with the right to write it")
	}
	return a
}

// ds18b20Form is the address of a probe, as agent ds18b20 takes it.
var ds18b20Form = regexp.MustCompile(`^(10|22|28|3b|42)-[0-9a-f]{12}$`)

func (p part) ds18b20() *agent {
	if k := p.bus.take("rpi1wire_sensors_dir_0"); k != nil && path.Clean(k.value) != "/sys/bus/w1/devices" {
		p.bus.refuse(k, "the kernel's folder /sys/bus/w1/devices is read")
	}
	address, line := "28-000005e2fdc3", p.section.line // Janitoo's default
	k := p.take("hexadd_0")
	if k != nil {
		address, line = strings.ToLower(k.value), k.line
	}
	if !ds18b20Form.MatchString(address) {
		p.refuse(k, "it is no address of a probe such as 28-000005e2fdc3")
		return nil
	}
	for _, other := range p.agents {
		if probes, _ := other.options["probes"].(map[string]string); other.kind == "ds18b20" && slices.Contains(slices.Collect(maps.Values(probes)), address) {
			p.file.note(line, "[%s] hexadd_0: [%s] has the probe already; the component was left out", shown(p.section.name), shown(other.from[0]))
			return nil
		}
	}
	a := p.add(p.name, "ds18b20", p.bus, p.section)
	if a == nil {
		return nil
	}
	a.options["probes"], a.options["only"] = map[string]string{p.name: address}, true
	return a
}

func (p part) nut() *agent {
	host, port := "127.0.0.1", 3493
	if k := p.take("ip_ping_config_0"); k != nil {
		if !validHost(k.value) {
			p.refuse(k, "it is neither a name nor an address")
			return nil
		}
		host = k.value
		p.node.values["ip_ping_config"] = host
	}
	if k := p.take("port_0"); k != nil {
		n, ok := whole(k.value)
		if !ok || n < 1 || n > 65535 {
			p.refuse(k, "it is no port")
			return nil
		}
		port = n
		p.node.values["port"] = fmt.Sprint(port)
	}
	a := p.add(p.name, "nut", p.bus, p.section)
	if a == nil {
		return nil
	}
	a.options["address"] = net.JoinHostPort(strings.Trim(host, "[]"), fmt.Sprint(port))
	if k := p.take("upsname_0"); k != nil && k.value != "" {
		if nutWord.MatchString(k.value) {
			a.options["ups"], p.node.values["upsname"] = k.value, k.value
		} else {
			p.refuse(k, "it can't be the name of a UPS; the only one of the server stands for it")
		}
	}
	p.login()
	if k := p.take("ip_ping_poll_0"); k != nil {
		if d, ok := seconds(k.value); ok {
			p.node.polls["ip_ping"] = reports.Duration(d)
		} else {
			p.refuse(k, "it is no delay in seconds")
		}
	}
	return a
}

// nutWord is a name of a UPS.
var nutWord = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// login says that the login at upsd is not carried over.
func (p part) login() {
	user, password := p.find("username_0"), p.find("password_0")
	if user != nil && user.value != "" {
		p.refuse(user, "reading needs no login; with one, put the password alone into a file, mode 0600, and name it as password_file beside username")
	}
	if password != nil && password.value != "" {
		p.refuse(password, "a password does not belong into this file")
	}
	for _, k := range []*key{user, password} {
		if k != nil {
			k.taken = true
		}
	}
}
