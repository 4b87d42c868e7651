package formats

import "testing"

func TestParseSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "7": 7, "7B": 7, "2k": 2048, "2K": 2048, "2KiB": 2048, "3m": 3 << 20, "3MiB": 3 << 20, "4G": 4 << 30, "4gib": 4 << 30,
		"8589934591GiB": 8589934591 << 30, "9223372036854775807": 1<<63 - 1,
	} {
		if got, ok := ParseSize(text); !ok || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "k", "-1", "+1", "1.5M", "0x10", " 1", "1 M", "1T", "1KB", "1iB", "1MM", "1kM", "8589934592GiB", "9223372036854775808"} {
		if n, ok := ParseSize(text); ok {
			t.Errorf("ParseSize(%q) = %d", text, n)
		}
	}
}
