// Peers has other people's ways of finding services play host and laptop, so that a sweep can be measured beside them in the same
// network namespaces. It is a module of its own: nothing of Rollcall depends on what it needs.
//
//	peers mdns-serve NAME ADDR       a host that hashicorp/mdns answers for, until it is killed
//	peers mdns-query                 one query of hashicorp/mdns, as long as its default timeout
//	peers nats-serve URL NAME        a service of the micro package of nats.go, until it is killed
//	peers nats-info URL WAIT         one $SRV.INFO, answered within WAIT
//	peers watch EXPRESSION CMD...    a command whose lines name hosts: the first group of the expression
//
// A question prints "heard N last MS returned MS": how many hosts, when the last of them, when the call came back.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/mdns"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

const (
	mdnsService = "_rollcall._tcp"
	natsService = "rollcall"
)

func main() {
	log.SetOutput(io.Discard) // hashicorp/mdns says there what it could not do with packets of others
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	words := map[string]int{"mdns-serve": 3, "mdns-query": 1, "nats-serve": 3, "nats-info": 3, "watch": 3}
	if len(args) == 0 || len(args) < words[args[0]] || words[args[0]] == 0 {
		return fmt.Errorf("usage: peers mdns-serve|mdns-query|nats-serve|nats-info|watch ...")
	}
	switch args[0] {
	case "mdns-serve":
		return mdnsServe(args[1], args[2])
	case "mdns-query":
		return mdnsQuery()
	case "nats-serve":
		return natsServe(args[1], args[2])
	case "nats-info":
		return natsInfo(args[1], args[2])
	}
	return watch(args[1], args[2:])
}

// question is one question under way.
type question struct {
	start time.Time
	last  time.Duration
	seen  map[string]bool
}

func ask() *question { return &question{start: time.Now(), seen: map[string]bool{}} }

func (q *question) heard(host string) {
	if !q.seen[host] {
		q.seen[host], q.last = true, time.Since(q.start)
	}
}

func (q *question) print() {
	fmt.Printf("heard %d last %.1f returned %.1f\n", len(q.seen), ms(q.last), ms(time.Since(q.start)))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func mdnsServe(name, addr string) error {
	s, err := mdns.NewMDNSService(name, mdnsService, "", name+".local.", 1883, []net.IP{net.ParseIP(addr)}, []string{"gpio hostsensor"})
	if err != nil {
		return err
	}
	if _, err := mdns.NewServer(&mdns.Config{Zone: s}); err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

// mdnsQuery asks with a channel that has room for everyone; with the one of its README, of 4, most are dropped.
func mdnsQuery() error {
	entries := make(chan *mdns.ServiceEntry, 4096)
	q, done := ask(), make(chan struct{})
	go func() {
		defer close(done)
		for e := range entries {
			q.heard(e.Name)
		}
	}()
	p := mdns.DefaultParams(mdnsService)
	p.Entries, p.DisableIPv6 = entries, true
	err := mdns.Query(p)
	close(entries)
	<-done
	q.print()
	return err
}

func natsServe(url, name string) error {
	c, err := nats.Connect(url, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	_, err = micro.AddService(c, micro.Config{Name: natsService, Version: "1.0.0", Description: "gpio hostsensor", Metadata: map[string]string{"host": name}})
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		return err
	}
	fmt.Println("ready")
	select {}
}

func natsInfo(url, wait string) error {
	limit, err := time.ParseDuration(wait)
	if err != nil {
		return err
	}
	c, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer c.Close()
	inbox := c.NewRespInbox()
	answers, err := c.SubscribeSync(inbox)
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		return err
	}
	q := ask()
	if err := c.PublishRequest("$SRV.INFO."+natsService, inbox, nil); err != nil {
		return err
	}
	for {
		m, err := answers.NextMsg(limit - time.Since(q.start))
		if err != nil {
			break // nobody says when that was all of them: the time is up
		}
		var info micro.Info
		if json.Unmarshal(m.Data, &info) == nil {
			q.heard(info.Metadata["host"])
		}
	}
	q.print()
	return nil
}

func watch(expression string, command []string) error {
	re, err := regexp.Compile(expression)
	if err != nil {
		return err
	}
	q := ask()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if m := re.FindStringSubmatch(lines.Text()); m != nil {
			q.heard(strings.Join(m[1:], " "))
		}
	}
	err = cmd.Wait()
	q.print()
	return err
}
