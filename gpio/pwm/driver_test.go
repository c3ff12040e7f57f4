package pwm

import (
	"strings"
	"testing"
)

func TestParseDriver(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want Driver
	}{
		{"", Driver{}},
		{"auto", Driver{}},
		{"hardware", Driver{Kind: HardwareKind}},
		{"software", Driver{Kind: SoftwareKind}},
		{"pwmchip0/1", Driver{ChannelKind, 0, 1}},
		{"pwmchip12/0", Driver{ChannelKind, 12, 0}},
	} {
		if got, err := ParseDriver(tc.text); err != nil || got != tc.want {
			t.Errorf("ParseDriver(%q) = %+v, %v, want %+v", tc.text, got, err, tc.want)
		}
	}
}

func TestParseDriverErrors(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"Hardware", " software", "pwmchip", "pwmchip0", "pwmchip0/", "pwmchip/1", "pwmchip-1/0", "pwmchip0/+1", "pwmchip00/1",
		"pwmchip0/1/2", "pwmchip0/10000", "/sys/class/pwm/pwmchip0/pwm1", "../pwmchip0/1", strings.Repeat("x", 1000),
	} {
		got, err := ParseDriver(text)
		if err == nil || !strings.Contains(err.Error(), "must be hardware, software, auto, or a channel as pwmchip0/1") || len(err.Error()) > 200 {
			t.Errorf("ParseDriver(%.40q) = %+v, %v, want a short error that says the forms", text, got, err)
		}
	}
}

func FuzzParseDriver(f *testing.F) {
	for _, text := range []string{"", "auto", "hardware", "software", "pwmchip0/1", "pwmchip9999/9999", "pwmchip1/x", "pwmchip01/1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDriver(text)
		if err != nil {
			return
		}
		if got := d.String(); got != text && text != "" {
			t.Errorf("ParseDriver(%q).String() = %q", text, got)
		}
		if again, err := ParseDriver(d.String()); err != nil || again != d {
			t.Errorf("ParseDriver(%q) = %+v, %v, want %+v", d.String(), again, err, d)
		}
	})
}
