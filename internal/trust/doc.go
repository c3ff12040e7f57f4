// Package trust is who may ask and command a host, and which host it is that answers: keys, the files that name them, and the
// TLS made of them (PROTOCOL.md §2). Trust works as SSH does: a laptop has an operator key, a host has a host key, both
// Ed25519; no secret is shared and nobody signs for another.
//
// It must do nothing but read and write these files and configure TLS: who asks what is the business of others.
//
// # Files
//
// A private key is an OpenSSH private key without a passphrase, readable by its owner alone; its public line stands in a file
// of the same name with .pub behind it. ssh-keygen reads and makes both.
//
// authorized_operators has one operator a line, like authorized_keys: rights, key, comment.
//
//	# who        key                comment
//	read         ssh-ed25519 AAAA…  guest@laptop
//	read,control ssh-ed25519 AAAA…  carol@laptop
//	ssh-ed25519 AAAA… alice@laptop
//
// Rights are read (ask who is there, read values), control (set and control; includes read) and setup (set services up;
// includes read). A line that names none has them all, as in authorized_keys. Nobody but the owner may be able to write the
// file.
//
// known_hosts has one host a line: its name and its id with a comma between them, and its key.
//
//	pizero2,0102030405060708 ssh-ed25519 AAAA…
package trust
