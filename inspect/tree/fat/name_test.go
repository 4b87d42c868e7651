package fat

import "testing"

func TestAppendUTF16(t *testing.T) {
	for want, units := range map[string][]uint16{
		"emoji 🙂!":      {'e', 'm', 'o', 'j', 'i', ' ', 0xD83D, 0xDE42, '!'},
		"\xed\xa0\xbdx": {0xD83D, 'x'},
		"\xed\xb9\x82":  {0xDE42},
		"u\u0308 日":     {'u', 0x308, ' ', 0x65E5},
		"x\xed\xa0\xbd": {'x', 0xD83D},
		"\xed\xa0\xbd🙂": {0xD83D, 0xD83D, 0xDE42},
	} {
		if got := string(appendUTF16(nil, units)); got != want {
			t.Errorf("%x: %q, want %q", units, got, want)
		}
	}
}

func TestShortNames(t *testing.T) {
	for raw, want := range map[string]string{
		"BOOTX64 EFI\x20\x00":       "BOOTX64.EFI",
		"BOOTX64 EFI\x20\x18":       "bootx64.efi",
		"README     \x20\x08":       "readme",
		"\x05BC     TXT\x20\x10":    "σBC.txt",
		"\x80\x81         \x20\x00": "Çü",
	} {
		if got := string(appendShort(nil, []byte(raw))); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}
