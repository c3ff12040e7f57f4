package lab

import (
	"encoding/json"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The original's programs: no code of ours on the other side, only netcat, mosquitto and its clients, and shell.

// originalAgent is a program that knows only /udp/report: it answers each request on the broker and topic that it names.
const originalAgent = `
field() { printf '%s' "$1" | sed -n 's/.*"'"$2"'":"\{0,1\}\([^",}]*\).*/\1/p'; }
mosquitto_sub -h 127.0.0.1 -t /udp/report | while read -r q; do
	mosquitto_pub -h "$(field "$q" replyto)" -t "$(field "$q" topic)" -m '{"function":"weather","inputs":"/old1/weather/set","outputs":"/old1/weather","control":"/old1/weather/control","hostname":"'"$(field "$q" hostname)"'","ipaddr":"'"$(field "$q" ipaddr)"'","replyto":"'"$(field "$q" replyto)"'","topic":"'"$(field "$q" topic)"'","cmd":"'"$(field "$q" cmd)"'","id":'"$(field "$q" id)"'}'
	echo answered "$q"
done`

// originalHost is a whole host of the original: it hears the broadcast itself and answers for one service.
const originalHost = `
use IO::Socket::INET;
$| = 1;
my $s = IO::Socket::INET->new(LocalPort => 37030, Proto => "udp", Broadcast => 1) or die $!;
print "listening\n";
while (defined $s->recv(my $q, 65536)) {
	next unless $q =~ /^\{/;
	my %f = $q =~ /"(\w+)":"?([^",}]*)/g;
	system "mosquitto_pub", "-h", $f{replyto}, "-t", $f{topic}, "-m", qq({"function":"oldgpio","inputs":"/oldpi/oldgpio/set","outputs":"/oldpi/oldgpio",)
		. qq("control":"/oldpi/oldgpio/control","hostname":"oldpi","ipaddr":"10.77.0.4","replyto":"$f{replyto}","topic":"$f{topic}","cmd":"status","id":$f{id}});
	print "answered $q\n";
}`

func TestOriginalPrograms(t *testing.T) {
	Need(t, "mosquitto", "mosquitto_pub", "mosquitto_sub", "nc", "bash", "perl", "stdbuf")
	l := NewLAN(t, 4)
	pi := l.Boot(1, HostConfig{Name: "old1", Mosquitto: true})
	eventually(t, []string{"old1 10.77.0.1: gpio online, hostsensor online"}, func() []string { return sweep(t, l, 3, 0).names() })

	// The sweep marks what is made up, in JSON and in the table, whichever way it was asked.
	for _, via := range []string{"udp", "mqtt"} {
		for _, h := range sweep(t, l, 3, 0, "--via", via).Hosts {
			for _, s := range h.Services {
				if s.Simulated != (s.Name == "gpio") {
					t.Errorf("by %s: %+v", via, s)
				}
			}
		}
		table := run(t, l, 3, "udpsrv", "sweep", "--via", via)
		for row := range strings.Lines(table) {
			if strings.HasSuffix(row, "  simulated\n") != strings.Contains(row, " gpio ") {
				t.Errorf("by %s the table has %q", via, row)
			}
		}
	}

	t.Run("a request by netcat is answered on the mosquitto of replyto", func(t *testing.T) {
		laptop := l.Mosquitto(2)
		defer laptop.Stop()
		sub := l.Start(2, false, "stdbuf", "-oL", "mosquitto_sub", "-d", "-t", "/stat/data", "-W", "60")
		sub.WaitLine("Subscribed", patience)
		for i, replyto := range []string{"10.77.0.2", "10.77.0.2:1883", "mqtt://10.77.0.2", "a-name-that-resolves-to-nothing.invalid"} {
			id := strconv.Itoa(1241 + i)
			question := `{"cmd":"status","replyto":"` + replyto + `","topic":"/stat/data","id":` + id + `,"colour":"green"}`
			l.Run(2, "bash", "-c", "printf %s '"+question+"' | nc -u -b -q 0 10.77.0.255 37030")
			seen := map[string]map[string]any{}
			eventually(t, []string{"gpio", "hostsensor"}, func() []string {
				var got []string
				for _, line := range sub.Lines() {
					var r map[string]any
					d := json.NewDecoder(strings.NewReader(line))
					d.UseNumber()
					if !strings.HasPrefix(line, "{") || d.Decode(&r) != nil || r["id"] != json.Number(id) {
						continue
					}
					seen[r["function"].(string)] = r
					got = append(got, r["function"].(string))
				}
				slices.Sort(got)
				return got
			})
			for f, r := range seen {
				if made := r["simulated"] == true; made != (f == "gpio") { // chip: sim
					t.Errorf("%s to %s: simulated is %v", f, replyto, r["simulated"])
				}
				for k, v := range map[string]string{"inputs": "/old1/" + f + "/set", "outputs": "/old1/" + f, "control": "/old1/" + f + "/control", "hostname": "old1",
					"ipaddr": "10.77.0.1", "replyto": replyto, "topic": "/stat/data", "cmd": "status", "colour": "green"} {
					if r[k] != v {
						t.Errorf("%s to %s: %s = %v, want %s", f, replyto, k, r[k], v)
					}
				}
				for _, private := range []string{"pass", "extaddr"} {
					if r[private] != nil {
						t.Errorf("%s: the report carries %s = %v", f, private, r[private])
					}
				}
			}
		}
	})

	t.Run("no request makes a host connect to a third party", func(t *testing.T) {
		victim := l.Start(3, false, "bash", "-c", "nc -n -v -l -k -p 1883 2>&1")
		victim.WaitLine("Listening", patience)
		// The trap works: a connection to it is seen.
		l.Run(2, "bash", "-c", "nc -n -z 10.77.0.3 1883")
		victim.WaitLine("onnection received", patience)
		trapped := len(victim.Lines())
		before := pi.Udpmon.Lines()
		for _, q := range []string{
			`{"cmd":"status","replyto":"10.77.0.3","topic":"/x","id":1}`,
			`{"cmd":"getapps","replyto":"10.77.0.3","topic":"/x","id":2}`,
			`{"cmd":"status","replyto":"::ffff:10.77.0.3","topic":"/x","id":3}`,
			`{"cmd":"status","replyto":"mqtt://10.77.0.2@10.77.0.3","topic":"/x","id":4}`,
			`{"cmd":"status","replyto":"mqtt://10.77.0.2#@10.77.0.3:1883","topic":"/x","id":5}`,
			`{"cmd":"status","replyto":"172818435","topic":"/x","id":6}`,
			`{"cmd":"status","replyto":"10.77.0.2","ReplyTo":"10.77.0.3","REPLYTO":"10.77.0.3","topic":"/x","id":7}`,
			`{"cmd":"status","replyto":"10.77.0.255","topic":"/x","id":8}`,
			`{"cmd":"status","replyto":"10.77.0.2","pass":"10.77.0.3:1883","topic":"/x","id":9}`,
		} {
			l.Run(2, "bash", "-c", "printf %s '"+q+"' | nc -u -q 0 10.77.0.1 37030")
		}
		// A sweep that is answered afterwards shows that the requests before it have been handled.
		sweep(t, l, 2, 0)
		<-time.After(500 * time.Millisecond) // the time in which a wrong connection would come; there is no event for its absence
		for _, line := range victim.Lines()[trapped:] {
			if strings.Contains(line, "onnection received") || strings.Contains(line, "Connection from") {
				t.Errorf("the victim was connected to: %s\nudpmon had said %d lines, then %s", line, len(before), strings.Join(pi.Udpmon.Lines()[len(before):], "\n"))
			}
		}
		if !pi.Udpmon.Running() || !pi.Agentd.Running() {
			t.Error("a daemon has ended")
		}
	})

	t.Run("a program that knows only /udp/report is a service in sweep --via mqtt", func(t *testing.T) {
		agent := l.Start(1, false, "bash", "-c", originalAgent)
		defer agent.Kill()
		want := []string{"old1 10.77.0.1: gpio, hostsensor, weather"}
		eventually(t, want, func() []string { return sweep(t, l, 2, 0, "--via", "mqtt").names() })
		laptop := l.Mosquitto(2)
		defer laptop.Stop()
		eventually(t, want, func() []string {
			return sweep(t, l, 2, 0, "--via", "mqtt", "--broker", "tcp://127.0.0.1:1883").names()
		})
	})

	t.Run("sweep --via both finds a host of the original", func(t *testing.T) {
		old := l.Start(4, false, "perl", "-e", originalHost)
		defer old.Kill()
		old.WaitLine("listening", patience)
		eventually(t, []string{"oldpi mqtt", "old1 mqtt udp"}, func() []string {
			var got []string
			for _, h := range sweep(t, l, 2, 0, "--via", "both", "--wait", "2s").Hosts {
				slices.Sort(h.Via)
				got = append(got, h.Hostname+" "+strings.Join(h.Via, " "))
			}
			slices.Sort(got)
			return got
		})
	})
}

// The list of bad datagrams, sent to a running host: it answers the next sweep all the same.
func TestBadDatagrams(t *testing.T) {
	Need(t)
	l := NewLAN(t, 2)
	h := l.Boot(1, HostConfig{})
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	for _, d := range []string{"", "x", strings.Repeat("x", 1500), strings.Repeat("y", 65_507), "{", "null", "[]", `{"cmd":1}`, `{"cmd":"status","replyto":["x"],"topic":7,"id":{}}`, deep,
		"{\"cmd\":\"status\",\"replyto\":\"\xff\xfe\",\"topic\":\"/x\",\"id\":1}", `{"cmd":"status","replyto":"10.77.0.2","topic":"/a/#","id":1}`,
		`{"cmd":"status","replyto":"10.77.0.2","topic":"/a/+","id":1}`, `{"cmd":"status","replyto":"10.77.0.2","topic":"/a\u0000b","id":1}`,
		`{"cmd":"status","replyto":"10.77.0.2","topic":"$SYS/x","id":1}`, `{"cmd":"status","replyto":"10.77.0.2","topic":"` + strings.Repeat("t", 60_000) + `","id":1}`,
		"RCL1", "RCL1\x01\x01", "RCL1\xff\xff" + strings.Repeat("\xff", 1194)} {
		file := l.dir + "/datagram"
		if err := os.WriteFile(file, []byte(d), 0o644); err != nil {
			t.Fatal(err)
		}
		l.Run(2, os.Args[0], "-test.run", "^TestSendHelper$", "-send", file, "-to", net.JoinHostPort(l.Addr(1), "37030"))
	}
	eventually(t, []string{"pi1 10.77.0.1: gpio online, hostsensor online"}, func() []string { return sweep(t, l, 2, 0).names() })
	if !h.Udpmon.Running() {
		t.Error("udpmon has ended")
	}
	if got := len(h.Udpmon.Lines()); got > 60 {
		t.Errorf("bad datagrams made udpmon log %d lines", got)
	}
}
