// Package janitoo turns the configuration files of Janitoo's servers (JANITOO.md §6) into one of ours. It reads bytes and writes
// bytes: it opens no file, and asks no device whether what the files say is true.
//
// What a file says that ours can't say is not lost in silence: each such line is a Note.
package janitoo
