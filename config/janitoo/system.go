package janitoo

import (
	"cmp"
	"net"
	"strconv"

	"rollcall/reports"
)

// systemReasons are the keys of [system] that have no counterpart, and why.
func systemReasons() map[string]string {
	const unit = "systemd starts the services, by the unit"
	const folder = "systemd's units name the folders; state_dir is where state is kept"
	const ready = "services are ready at once; nothing has to wait"
	const lease = "only Janitoo's DHCP server reads it"
	return map[string]string{
		"service": unit, "user": "systemd's units name the user", "log_dir": folder, "home_dir": folder, "pid_dir": folder, "conf_dir": folder, "cache_dir": folder,
		"broker_keepalive": "the keep alive of a connection is not to be set", "slow_start": ready, "loop_sleep": ready, "gc_delay": "there is no Python to be collected",
		"heartbeat_timeout": lease, "heartbeat_count": lease, "heartbeat_dead": lease, "dhcp_tries": lease, "dhcp_timeout": lease,
	}
}

// system carries [system] over.
func (im *importer) system(f *file) {
	s := f.section("system")
	if s == nil {
		return
	}
	if k := s.take("hostname"); k != nil {
		im.hostname(s, k)
	}
	im.url(f, s)
	reasons := systemReasons()
	for _, k := range s.keys {
		if why, ok := reasons[k.name]; ok && !k.taken {
			s.refuse(k, "%s", why)
		}
	}
	s.rest("Rollcall has nothing like it")
}

func (im *importer) hostname(s *section, k *key) {
	switch err := reports.ValidName(k.value); {
	case k.value == "":
	case err != nil || reserved(k.value):
		s.refuse(k, "it can't be a host's name in topics; the machine's own stands for it")
	case im.host != "" && im.host != k.value:
		s.refuse(k, "another file names another host; one configuration is of one host")
	default:
		im.host = k.value
	}
}

// url carries the broker over. Janitoo's is always one beside it, so that ours is not the embedded one.
func (im *importer) url(f *file, s *section) {
	host, port := "127.0.0.1", "1883"
	line := s.line
	if k := s.take("broker_ip"); k != nil {
		host, line = cmp.Or(k.value, host), k.line
	}
	if k := s.take("broker_port"); k != nil {
		n, err := strconv.Atoi(k.value)
		if err != nil || n < 1 || n > 65535 {
			s.refuse(k, "it is no port; 1883 stands for it")
		} else {
			port = strconv.Itoa(n)
		}
	}
	b := broker{url: "mqtt://" + net.JoinHostPort(host, port), user: s.text("broker_user")}
	if k := s.take("broker_password"); k != nil && b.user != "" {
		if b.password = k.value; im.PasswordFile == "" {
			s.refuse(k, "a password does not belong into this file: put it alone into one of mode 0600, and name that as password_file")
		}
	}
	switch {
	case !validHost(host):
		f.note(line, "[system] broker_ip: it is neither a name nor an address; the embedded broker stands for it")
	case len(b.user) > 256 || !plain(b.user):
		f.note(line, "[system] broker_user: it can't be a user's name; the embedded broker stands for that broker")
	case im.broker.url != "" && im.broker != b:
		f.note(line, "[system] broker_ip: another file has another broker; a host has one, that of the first file")
	default:
		im.broker = b
	}
}

// network carries [network] over.
func (im *importer) network(f *file) {
	s := f.section("network")
	if s == nil {
		return
	}
	im.primary = im.primary || truth(s.text("is_primary"))
	if k := s.take("is_secondary"); k != nil && truth(k.value) {
		s.refuse(k, "a secondary needs an address of its own: janitoo: {network: secondary, hadd: 0002}")
	}
	if k := s.take("home_id"); k != nil && k.value != "" {
		if len(k.value) > 80 || !plain(k.value) {
			s.refuse(k, "it is too long, or has characters that can't be printed")
		} else {
			im.home = k.value
		}
	}
	s.rest("the map of the network needs no waits that could be set")
}
