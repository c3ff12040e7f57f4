package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/internal/trust"
)

func newKeyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Show this laptop's operator key, or make a new one",
		RunE:  func(*cobra.Command, []string) error { return usagef("key takes show or new") },
	}
	var certificate bool
	show := &cobra.Command{
		Use:     "show",
		Short:   "Print the public line of the operator key, which authorized_operators files have",
		Example: "  udpsrv key show\n  udpsrv key show --certificate > alice.pem",
		Args:    noArgs,
		RunE: action(func(context.Context, []string) error {
			who, err := a.who()
			if err != nil {
				return err
			}
			if certificate {
				pem, err := who.key.CertificatePEM()
				if err != nil {
					return err
				}
				_, err = a.out.Write(pem)
				return err
			}
			fmt.Fprintf(a.err, "%s\n", who.key.Public().Fingerprint())
			_, err = fmt.Fprintln(a.out, who.key.Public())
			return err
		}),
	}
	show.Flags().BoolVar(&certificate, "certificate", false, "print the certificate that brokers see instead, as PEM")
	var force bool
	fresh := &cobra.Command{
		Use:   "new",
		Short: "Make a new operator key; hosts have to be told of it",
		Args:  noArgs,
		RunE:  action(func(context.Context, []string) error { return a.newKey(force) }),
	}
	fresh.Flags().BoolVar(&force, "replace", false, "replace the key that is there; hosts that know only that one are out of reach then")
	cmd.AddCommand(show, fresh)
	return cmd
}

func (a *app) newKey(force bool) error {
	dir, err := a.keyDir()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, operatorKeyFile)
	if force {
		key, err := trust.NewKey(ownComment())
		if err != nil {
			return err
		}
		if err := key.Replace(path); err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, key.Public())
		return err
	}
	key, fresh, err := trust.LoadOrMakeKey(path, ownComment())
	switch {
	case err != nil:
		return err
	case !fresh:
		return fmt.Errorf("there is a key: %s; --replace replaces it", path)
	}
	_, err = fmt.Fprintln(a.out, key.Public())
	return err
}

// trusting is the options of trust.
type trusting struct {
	asking
	yes, forget bool
}

func newTrust(a *app) *cobra.Command {
	var o trusting
	cmd := &cobra.Command{
		Use:   "trust HOST",
		Short: "Show the key of a host, and remember it",
		Long: `Show the key of a host, and remember it in known_hosts once you have said yes. Compare the fingerprint with the one that
"ssh-keygen -l -f /var/lib/rollcall/host_key.pub" shows on the host. A host whose key differs from the remembered one is refused.`,
		Example: "  udpsrv trust pizero2\n  udpsrv trust --yes pizero2\n  udpsrv trust --forget pizero2",
		Args:    exactly(1, "HOST"),
		RunE: action(func(ctx context.Context, args []string) error {
			if o.forget {
				return a.forget(args[0])
			}
			return o.run(ctx, a, args[0])
		}),
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "remember the key without asking")
	cmd.Flags().BoolVar(&o.forget, "forget", false, "forget the key instead")
	cmd.AddCommand(newTrustMosquitto(a))
	return cmd
}

func (a *app) forget(name string) error {
	who, err := a.who()
	if err != nil {
		return err
	}
	n, err := who.known.Forget(name)
	if err == nil && n == 0 {
		err = fmt.Errorf("no key of a host %q is known", name)
	}
	return errors.Join(err, who.save())
}

func (o *trusting) run(ctx context.Context, a *app, name string) error {
	if err := o.check(); err != nil {
		return err
	}
	who, err := a.who()
	if err != nil {
		return err
	}
	rd, err := o.ask(ctx, a, nil, nil, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(rd.distrusted...); err != nil {
		return err
	}
	found := matching(entriesOf(rd), name)
	switch {
	case len(found) == 0:
		return fmt.Errorf("no host %q answered this operator (%s); is its line in the host's authorized_operators? udpsrv enroll %[1]s adds it", name, rd.took())
	case len(found) > 1:
		return fmt.Errorf("%d hosts are meant by %q; name one by its id or address", len(found), name)
	}
	h := rd.byName[found[0].Hostname][0]
	if h.key == nil {
		return fmt.Errorf("%s is open: it answers anyone and uses no key; udpsrv enroll %[1]s makes it answer you alone", h.Hostname)
	}
	id, _ := parseID(h.ID)
	k := trust.KnownHost{Name: h.Hostname, ID: trust.HostID(id), PublicKey: trust.PublicKey{Key: h.key}}
	if err := who.known.Check(k); !errors.Is(err, trust.ErrUnknownHost) {
		fmt.Fprintf(a.err, "%s is known already: %s\n", k.Name, k.Fingerprint())
		return err
	}
	fmt.Fprintf(a.err, "%s at %s has the key %s\n", k.Name, h.IPAddr, k.Fingerprint())
	if !o.yes && !a.confirm("Remember it? (yes/no) ") {
		return errors.New("not remembered")
	}
	return who.known.Add(k)
}

// confirm asks a person, who says yes and nothing else to agree.
func (a *app) confirm(question string) bool {
	fmt.Fprint(a.err, question)
	in, err := a.stdin()
	if err != nil {
		return false
	}
	line, _ := bufio.NewReader(in).ReadString('\n') // no answer is no
	return strings.TrimSpace(line) == "yes"
}

// enrolling is the options of enroll.
type enrolling struct {
	rights, ssh, file, state string
	print                    bool
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
		RunE: action(func(ctx context.Context, args []string) error {
			return o.run(ctx, a, args)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&o.rights, "rights", trust.All.String(), "what this laptop may do there: read, control, setup")
	f.StringVar(&o.ssh, "ssh", "ssh", "command that connects, with its options")
	f.StringVar(&o.file, "file", "/etc/rollcall/authorized_operators", "file on the host")
	f.StringVar(&o.state, "state-dir", "/var/lib/rollcall", "folder of the host's key there")
	f.BoolVar(&o.print, "print", false, "print the command for the host instead")
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
	if len(hosts) == 0 && !o.print {
		return usagef("enroll takes at least one HOST, or --print")
	}
	who, err := a.who()
	if err != nil {
		return err
	}
	line := trust.Operator{PublicKey: who.key.Public(), Rights: rights}.Line()
	if o.print {
		_, err := fmt.Fprintf(a.out, "echo %s | sudo tee -a %s && sudo systemctl reload udpmon\n", quote(line), quote(o.file))
		return err
	}
	text := fmt.Sprintf(script, quote(line), quote(o.file), quote(o.state))
	var errs []error
	for _, host := range hosts {
		if strings.HasPrefix(host, "-") || host == "" {
			return usagef("%q is no host", host)
		}
		if err := o.enroll(ctx, a, who, host, text); err != nil {
			errs = append(errs, fmt.Errorf("enroll at %s: %w", host, err))
		}
	}
	return errors.Join(errs...)
}

func (o *enrolling) enroll(ctx context.Context, a *app, who *identity, host, text string) error {
	args := strings.Fields(o.ssh)
	if len(args) == 0 {
		return usagef("--ssh is empty")
	}
	cmd := exec.CommandContext(ctx, args[0], append(args[1:], host, "sh", "-s")...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), &out, a.err
	if err := cmd.Run(); err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		fmt.Fprintf(a.err, "%s obeys this laptop; it has no key yet: start udpmon there, then udpsrv trust HOST\n", host)
		return nil
	}
	id, ok := parseID(strings.TrimSpace(lines[0]))
	key, err := trust.ParsePublicKey(lines[1])
	if err != nil || !ok {
		return fmt.Errorf("its key can't be read: %q", lines[:2])
	}
	name := key.Comment // udpmon writes the name that it answers by
	if err := who.known.Add(trust.KnownHost{Name: name, ID: trust.HostID(id), PublicKey: key}); err != nil {
		return err
	}
	fmt.Fprintf(a.err, "%s obeys this laptop; its key %s is remembered\n", name, key.Fingerprint())
	return nil
}

// quote returns s as one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
