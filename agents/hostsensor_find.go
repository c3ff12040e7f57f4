package agents

import (
	"cmp"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// hostsensorDiskTypes are the local file systems that have a size of their own. Whatever stands on / counts beside them: an
// overlay where the card is read-only, hostfs in the lab.
var hostsensorDiskTypes = [...]string{"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfsplus", "jfs",
	"msdos", "nilfs2", "ntfs", "ntfs3", "reiserfs", "ubifs", "vfat", "xfs", "zfs"}

// hostsensorDisks returns the mount points to report: one for each file system, the shortest, in their order.
func hostsensorDisks(mounts []*procfs.MountInfo, want func(string) bool) []string {
	top := map[string]*procfs.MountInfo{} // what was mounted over something else hides it
	for _, m := range mounts {
		top[hostsensorUnescape(m.MountPoint)] = m
	}
	points := make([]string, 0, len(top))
	for p, m := range top {
		if p == "/" || slices.Contains(hostsensorDiskTypes[:], m.FSType) {
			points = append(points, p)
		}
	}
	slices.SortFunc(points, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	seen := map[string]bool{}
	points = slices.DeleteFunc(points, func(p string) bool {
		dev := top[p].MajorMinorVer
		again := seen[dev]
		seen[dev] = true
		return again || !want(p)
	})
	slices.Sort(points)
	return points
}

// hostsensorUnescape undoes the octal escapes of /proc/self/mountinfo: \040 for a space.
func hostsensorUnescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// hostsensorMountSegment makes a segment of a path of a mount point: / is root, /boot/firmware is boot-firmware.
func hostsensorMountSegment(mount string) string {
	if mount == "/" {
		return "root"
	}
	return hostsensorSegment(strings.ReplaceAll(strings.Trim(mount, "/"), "/", "-"))
}

// hostsensorLongest keeps the paths within reports.MaxPath.
const hostsensorLongest = 64

// hostsensorSegment makes a segment of a path of any text: what it may not have becomes _.
func hostsensorSegment(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return '_'
	}, s)
	return cmp.Or(s[:min(len(s), hostsensorLongest)], "_")
}

// hostsensorProbe is a temperature or a fan.
type hostsensorProbe struct {
	branch, name, label, help, unit, file string
	parse                                 func(string, error) (any, error)
}

// hostsensorProbes finds the probes below root/sys/class. Names, not numbers, make the paths: the kernel numbers hwmon
// devices in the order in which their drivers happened to load. A probe that can't be read now, such as that of a radio
// that is switched off, is left out.
func hostsensorProbes(root string, log *slog.Logger) []hostsensorProbe {
	return slices.DeleteFunc(append(hostsensorHwmon(root), hostsensorZones(root)...), func(p hostsensorProbe) bool {
		_, err := p.parse(sensorFile(p.file))
		if err != nil {
			log.Info("leave out a sensor", "sensor", p.name, "err", err)
		}
		return err != nil
	})
}

func hostsensorHwmon(root string) []hostsensorProbe {
	var out []hostsensorProbe
	for _, dir := range hostsensorNumbered(filepath.Join(root, "sys/class/hwmon/hwmon*")) {
		chip, err := sensorFile(filepath.Join(dir, "name"))
		if err != nil {
			continue // the kernel gives every hwmon device a name: this one is just going away
		}
		for _, kind := range []hostsensorProbe{
			{branch: "temperature", help: "Sensor of ", unit: "°C", file: "temp", parse: hostsensorMilli},
			{branch: "fan", help: "Fan of ", unit: "rpm", file: "fan", parse: hostsensorRPM},
		} {
			inputs := hostsensorNumbered(filepath.Join(dir, kind.file+"*_input"))
			for _, file := range inputs {
				p := kind
				p.name, p.label, p.file, p.help = chip, chip, file, kind.help+chip
				stem := strings.TrimSuffix(filepath.Base(file), "_input")
				switch label, err := sensorFile(filepath.Join(dir, stem+"_label")); {
				case err == nil && label != "":
					p.name, p.label = chip+"-"+strings.ToLower(label), label
				case len(inputs) > 1:
					p.name, p.label = chip+"-"+stem, chip+" "+stem
				}
				out = append(out, p)
			}
		}
	}
	return out
}

// hostsensorZones returns the thermal zones. thermal_hwmon shows most of them as a hwmon device as well, of the same name
// with _ for -; those are left to hostsensorHwmon.
func hostsensorZones(root string) []hostsensorProbe {
	chips := map[string]bool{}
	for _, dir := range hostsensorNumbered(filepath.Join(root, "sys/class/hwmon/hwmon*")) {
		if chip, err := sensorFile(filepath.Join(dir, "name")); err == nil {
			chips[chip] = true
		}
	}
	var out []hostsensorProbe
	for _, dir := range hostsensorNumbered(filepath.Join(root, "sys/class/thermal/thermal_zone*")) {
		zone, err := sensorFile(filepath.Join(dir, "type"))
		if err != nil || chips[strings.ReplaceAll(zone, "-", "_")] {
			continue
		}
		out = append(out, hostsensorProbe{branch: "temperature", name: zone, label: zone, help: "Thermal zone " + zone, unit: "°C",
			file: filepath.Join(dir, "temp"), parse: hostsensorMilli})
	}
	return out
}

// hostsensorNumbered returns what the pattern finds, name2 before name10.
func hostsensorNumbered(pattern string) []string {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return nil // the patterns are ours and right; a root with brackets in its name finds nothing
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return found
}
