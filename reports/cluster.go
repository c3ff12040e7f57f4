package reports

import (
	"cmp"
	"slices"
	"strings"
)

// Cluster is what a face is made of: the hosts of a sweep, or the one host that a monitor is, with what their services say of
// themselves. NewCluster makes one; its order depends on nothing but what is in it.
type Cluster struct {
	Hosts []Host // by name, id and address
}

// Host is a host with its services. All texts but Key, Name and ID are from outside and may hold anything: a face escapes them.
type Host struct {
	Key  string // names the host in one cluster: its name, with digits of its id where others have the same name
	ID   string // 16 hex digits, stable over restarts and renaming; "" where only the original form is known
	Name string // the hostname: the first segment of its topics

	IPAddr, ExtAddr, MAC, Model, OS, Arch, Version string // "" where it is not known

	Brokers  []string // URLs of its broker, as others reach it
	Status   Status   // of the host itself
	Services []HostService
}

// HostService is a service of a host.
type HostService struct {
	Service
	Status    Status
	Described bool              // there is a description; else Points is empty, and only the name and the function are known
	Error     string            // what its error topic says; "" while nothing is wrong
	Health    *Health           // what it has done, where it says so; else nil
	Values    map[string]string // the last payload of each point by path, where values were asked for; else nil
}

// Topics makes the topics of the service. Whatever Service.Inputs and the like say, these are the ones that it is read and set
// by (PROTOCOL.md §3).
func (h Host) Topics(s HostService) Topics { return Topics{Host: h.Name, Service: s.Name} }

// NewCluster returns the hosts as a cluster: sorted, each with its key, and without what can't be: a host or service whose name
// is none, a service that stands twice, a description that is not valid. It changes nothing of hosts.
func NewCluster(hosts []Host) Cluster {
	var c Cluster
	named := map[string]int{}
	for _, h := range hosts {
		if ValidName(h.Name) != nil {
			continue
		}
		h.Services = validServices(h)
		h.Brokers = slices.Compact(slices.Sorted(slices.Values(h.Brokers)))
		named[h.Name]++
		c.Hosts = append(c.Hosts, h)
	}
	slices.SortStableFunc(c.Hosts, func(a, b Host) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID), strings.Compare(a.IPAddr, b.IPAddr))
	})
	taken := map[string]bool{}
	for i := range c.Hosts {
		h := &c.Hosts[i]
		h.Key = h.Name
		if named[h.Name] > 1 {
			h.Key += "-" + cmp.Or(h.ID[:min(keyDigits, len(h.ID))], "0")
		}
		h.Key = Unique(taken, h.Key)
	}
	return c
}

// keyDigits is how many digits of its id tell a host from others of its name.
const keyDigits = 6

// Unique returns the word, or where it is taken the word with the first number that is free (word-2, word-3 …), and takes it.
func Unique(taken map[string]bool, word string) string {
	for n, first := 2, word; taken[word]; n++ {
		word = first + "-" + FormatValue(n)
	}
	taken[word] = true
	return word
}

// validServices returns the services that can be, by name, with their points by path.
func validServices(h Host) []HostService {
	var out []HostService
	for _, s := range h.Services {
		if ValidName(s.Name) != nil || s.Described && s.Validate() != nil {
			continue
		}
		if !s.Described {
			s.Points = nil
		}
		s.Service = s.On(h.Name)
		s.Points = slices.SortedStableFunc(slices.Values(s.Points), func(a, b Point) int { return strings.Compare(a.Path, b.Path) })
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b HostService) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(out, func(a, b HostService) bool { return a.Name == b.Name })
}
