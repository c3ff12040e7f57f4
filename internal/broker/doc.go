// Package broker is the embedded MQTT broker: mochi with what it needs to be trusted (BROKERS.md §1.5). It is the one owner
// of mochi and bbolt, and must know nothing of reports, agents or the UDP side.
//
// What it does differently from a plain mochi v2.7.9:
//
//   - A frame that crashes the decoder costs its sender the connection, not everybody the process (M1).
//   - Queues are 65,535 unacknowledged and 16,384 unwritten messages for each client (M2, M3); what is lost beyond that is
//     counted and logged. A client that takes nothing for 5 s is disconnected, so that it cannot stall the others.
//   - A packet may have 2 MiB, so that a command which is too long gets an answer; a larger one, and a CONNECT, SUBSCRIBE or
//     UNSUBSCRIBE of more than 128 KiB, closes the connection before memory is spent on it. A message of more than 128 KiB is
//     acknowledged to its sender as any other, but goes only to subscribers that are connected, with QoS 0 and maybe before
//     older messages that wait for a slow one; it is not retained, which is logged. Four at a time are read, within 10 s each,
//     and four of clients that are not trusted; the others wait.
//   - Sessions of persistent clients live in memory, for an hour and with 1,000 messages at most; they do not survive a
//     restart, and after a reconnect queued messages may come out of order (M4 to M6). Number the payloads where it matters.
//   - There are 1,000 connections at a time by default, and 64 from one address that is not trusted, with those that have not
//     said CONNECT; others are closed at once.
//   - Config.Allow decides about every publish, last will, filter and delivery; the default is no (M7). Topics that begin
//     with $ cannot be published to.
//   - What is published with the retain flag on a command topic (Config.Command) is not retained, and delivered with the flag,
//     against MQTT-3.3.1-9, so that the service can refuse it.
//   - A refused PUBLISH with QoS 1 closes the connection of an MQTT 3 client, as mochi does it (M8): clients must back off.
//   - MQTT 5 clients with a Receive Maximum reach a recursive read lock in mochi that can block under contention (M9): use
//     MQTT 3.1.1. MQTT 5 topic aliases, will delay and what v5 properties a retained message has across a restart are left out.
//   - The packet IDs of requests are hidden from mochi, which keeps those of both sides in one table: it would refuse a SUBSCRIBE
//     or UNSUBSCRIBE that has the ID of an unacknowledged delivery, and forget the delivery for a PUBLISH. QoS 2 is left
//     as it is: a PUBLISH with QoS 2 and the ID of an unacknowledged delivery costs that delivery its repetition in the next
//     connection.
//   - Config.Guests are listeners for clients that can't say who they are: such a client is told from the others by Peer.Guest,
//     also one on this machine, is never trusted, and takes over no client ID but a guest's.
//   - Last wills are sent by this package: on every end without DISCONNECT, before a client that takes the ID over hears
//     CONNACK, so that its "online" is never overtaken by the old "offline".
//   - a/# includes the retained message of a, which mochi leaves out. What stays is that +/# does not match a, one level, live.
//   - There are no $SYS topics and nothing ticks: an idle broker does not wake the processor. Use Stats.
package broker
