package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/internal/trust"
)

// enrolling is the options of enroll.
type enrolling struct {
	format
	rights, ssh, file, state string
	show                     bool
}

// enrolled is what enroll prints of a host for programs. A host that has no key yet has none of the last three.
type enrolled struct {
	Host        string `json:"host"` // as it was named to ssh
	Hostname    string `json:"hostname,omitempty"`
	Key         string `json:"key,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
}

func newEnroll(a *app) *cobra.Command {
	var o enrolling
	cmd := &cobra.Command{
		Use:   "enroll HOST...",
		Short: "Have hosts obey this laptop: adds its key to their authorized_operators over SSH",
		Long: `Have hosts obey this laptop: adds the line of its operator key to their authorized_operators over SSH, has udpmon read it, and
remembers the host's key, which SSH vouches for. HOST is what ssh takes. With --print nothing is done; the command to be pasted
on the host is printed.`,
		Example: "  udpsrv enroll pizero1 pizero2\n  udpsrv enroll --rights read pi@192.168.1.50\n  udpsrv enroll --print",

		ValidArgsFunction: completeHosts(a, 0),
		RunE: action(func(ctx context.Context, args []string) error {
			return o.run(ctx, a, args)
		}),
	}
	f := cmd.Flags()
	o.format.flags(cmd, "what was done")
	f.StringVar(&o.rights, "rights", trust.All.String(), "what this laptop may do there: read, control, setup")
	f.StringVar(&o.ssh, "ssh", "ssh", "command that connects, with its options")
	f.StringVar(&o.file, "file", "/etc/rollcall/authorized_operators", "file on the host")
	f.StringVar(&o.state, "state-dir", "/var/lib/rollcall", "folder of the host's key there")
	f.BoolVar(&o.show, "print", false, "print the command for the host instead")
	return cmd
}

// script adds a line to a file once, keeps others from writing it, has the daemon read it and prints the host's id and key.
const script = `set -e
as=; [ "$(id -u)" = 0 ] || as=sudo
$as sh -ec '
mkdir -p "$(dirname "$2")"; touch "$2"; chmod 644 "$2"
grep -qF "$(printf "%%s" "$1" | grep -o "ssh-ed25519 [^ ]*")" "$2" || printf "%%s\n" "$1" >>"$2"
if [ -d /run/systemd/system ]; then systemctl reload udpmon || true; fi
for f in host_id host_key.pub; do if [ -r "$3/$f" ]; then cat "$3/$f"; fi; done
hostname' sh %s %s %s
`

func (o *enrolling) run(ctx context.Context, a *app, hosts []string) error {
	rights, err := trust.ParseRights(o.rights)
	if err != nil {
		return usagef("--rights: %v", err)
	}
	if len(hosts) == 0 && !o.show {
		return usagef("enroll takes at least one HOST, or --print")
	}
	who, err := a.who()
	if err != nil {
		return err
	}
	line := trust.Operator{PublicKey: who.key.Public(), Rights: rights}.Line()
	if o.show {
		command := fmt.Sprintf("echo %s | sudo tee -a %s && sudo systemctl reload udpmon", quote(line), quote(o.file))
		if o.asked() {
			return o.print(a.out, map[string]string{"command": command})
		}
		_, err := fmt.Fprintln(a.out, command)
		return err
	}
	text := fmt.Sprintf(script, quote(line), quote(o.file), quote(o.state))
	var errs []error
	done := []enrolled{}
	for i, host := range hosts {
		if strings.HasPrefix(host, "-") || host == "" {
			return usagef("%q is no host", host)
		}
		p := a.beginStill("enrolling at %s, %d of %d", host, i+1, len(hosts))
		e, err := o.enroll(ctx, a, who, host, text)
		if p.end(); err != nil {
			errs = append(errs, fmt.Errorf("enroll at %s: %w", host, err))
			continue
		}
		done = append(done, e)
	}
	if o.asked() {
		errs = append(errs, o.print(a.out, done))
	}
	return errors.Join(errs...)
}

func (o *enrolling) enroll(ctx context.Context, a *app, who *identity, host, text string) (enrolled, error) {
	args := strings.Fields(o.ssh)
	if len(args) == 0 {
		return enrolled{}, usagef("--ssh is empty")
	}
	cmd := exec.CommandContext(ctx, args[0], append(args[1:], host, "sh", "-s")...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, a.err
	if err := cmd.Run(); err != nil {
		return enrolled{}, err
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		fmt.Fprintf(a.err, "%s obeys this laptop; it has no key yet: start udpmon there, then udpsrv trust HOST\n", host)
		return enrolled{Host: host}, nil
	}
	id, ok := parseID(strings.TrimSpace(lines[0]))
	key, err := trust.ParsePublicKey(lines[1])
	if err != nil || !ok {
		return enrolled{}, fmt.Errorf("its key can't be read: %q", lines[:2])
	}
	name := key.Comment // udpmon writes the name that it answers by
	if err := who.known.Add(trust.KnownHost{Name: name, ID: trust.HostID(id), PublicKey: key}); err != nil {
		return enrolled{}, err
	}
	fmt.Fprintf(a.err, "%s obeys this laptop; its key %s is remembered\n", name, key.Fingerprint())
	return enrolled{host, name, key.String(), key.Fingerprint()}, nil
}

// quote returns s as one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
