package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rollcall/internal/trust"
)

// shownKey is what the key commands print of a key.
type shownKey struct {
	Line        string `json:"line"` // as authorized_operators has it
	Fingerprint string `json:"fingerprint"`
	Comment     string `json:"comment"`
	Certificate string `json:"certificate,omitempty"` // PEM
}

func newKeyCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Show this laptop's operator key, or make a new one",
		RunE:  func(*cobra.Command, []string) error { return usagef("key takes show or new") },
	}
	var certificate bool
	var f format
	show := &cobra.Command{
		Use:     "show",
		Short:   "Print the public line of the operator key, which authorized_operators files have",
		Example: "  udpsrv key show\n  udpsrv key show --certificate > alice.pem",
		Args:    noArgs,
		RunE:    action(func(context.Context, []string) error { return a.showKey(&f, certificate) }),
	}
	show.Flags().BoolVar(&certificate, "certificate", false, "print the certificate that brokers see instead, as PEM")
	f.flags(show, "the key")
	var force bool
	var made format
	fresh := &cobra.Command{
		Use:   "new",
		Short: "Make a new operator key; hosts have to be told of it",
		Args:  noArgs,
		RunE:  action(func(context.Context, []string) error { return a.newKey(&made, force) }),
	}
	fresh.Flags().BoolVar(&force, "replace", false, "replace the key that is there; hosts that know only that one are out of reach then")
	made.flags(fresh, "the new key")
	cmd.AddCommand(show, fresh)
	return cmd
}

func (a *app) showKey(f *format, certificate bool) error {
	who, err := a.who()
	if err != nil {
		return err
	}
	var pem []byte
	if certificate {
		if pem, err = who.key.CertificatePEM(); err != nil {
			return err
		}
	}
	public := who.key.Public()
	switch {
	case f.asked():
		return f.print(a.out, shownKey{public.String(), public.Fingerprint(), public.Comment, string(pem)})
	case certificate:
		_, err = a.out.Write(pem)
		return err
	}
	fmt.Fprintf(a.err, "%s\n", public.Fingerprint())
	_, err = fmt.Fprintln(a.out, public)
	return err
}

func (a *app) newKey(f *format, force bool) error {
	dir, err := a.keyDir()
	if err != nil {
		return err
	}
	path := filepath.Join(dir, operatorKeyFile)
	var key trust.Key
	if force {
		if key, err = trust.NewKey(ownComment()); err == nil {
			err = key.Replace(path)
		}
	} else {
		fresh := false
		if key, fresh, err = trust.LoadOrMakeKey(path, ownComment()); err == nil && !fresh {
			err = fmt.Errorf("there is a key: %s; --replace replaces it", path)
		}
	}
	public := key.Public()
	switch {
	case err != nil:
		return err
	case f.asked():
		return f.print(a.out, shownKey{public.String(), public.Fingerprint(), public.Comment, ""})
	}
	_, err = fmt.Fprintln(a.out, public)
	return err
}

// trusting is the options of trust.
type trusting struct {
	asking
	format
	yes, forget bool
}

// trusted is what trust prints of a host for programs.
type trusted struct {
	Hostname    string `json:"hostname"`
	ID          string `json:"id"`
	IPAddr      string `json:"ipaddr,omitempty"`
	Key         string `json:"key"`
	Fingerprint string `json:"fingerprint"`
	Known       bool   `json:"known"` // it was before
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

		ValidArgsFunction: completeHosts(a, 1),
		RunE: action(func(ctx context.Context, args []string) error {
			if o.forget {
				return a.forget(args[0])
			}
			return o.run(ctx, a, args[0])
		}),
	}
	o.asking.flags(cmd)
	o.format.flags(cmd, "the key of the host")
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
		return errors.Join(err, o.show(a, h, k, true))
	}
	fmt.Fprintf(a.err, "%s at %s has the key %s\n", k.Name, h.IPAddr, k.Fingerprint())
	if !o.yes && !a.confirm("Remember it? (yes/no) ") {
		return errors.New("not remembered")
	}
	if err := who.known.Add(k); err != nil {
		return err
	}
	return o.show(a, h, k, false)
}

// show prints the key of a host for a program.
func (o *trusting) show(a *app, h *host, k trust.KnownHost, known bool) error {
	if !o.asked() {
		return nil
	}
	return o.print(a.out, trusted{k.Name, h.ID, h.IPAddr, k.PublicKey.String(), k.Fingerprint(), known})
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
