package command

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParse(t *testing.T) {
	for line, want := range map[string][]string{
		"delete":                       {"delete"},
		"delete\n":                     {"delete"},
		"  rename \t a  ":              {"rename", "a"},
		`set description ""`:           {"set", "description", ""},
		`a KEY="VALUE WITH BLANKS" b`:  {"a", "KEY=VALUE WITH BLANKS", "b"},
		`a\ b "c\"d\\" e""f`:           {"a b", `c"d\`, "ef"},
		`\"`:                           {`"`},
		`"\x"`:                         {"x"},
		"register Bücher /srv/ä.img":   {"register", "Bücher", "/srv/ä.img"},
		strings.Repeat("x", MaxLine-1): {strings.Repeat("x", MaxLine-1)},
	} {
		got, err := Parse(line)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Parse(%q) = %q, %v; want %q", line, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for line, word := range map[string]string{
		"":                             "empty",
		" \t\n":                        "empty",
		"a\nb":                         "one",
		"a\n\n":                        "one",
		"a\x00b":                       "control character 0x00 at byte 2",
		"a \x7f":                       "control character 0x7f at byte 3",
		"a \u0085":                     "control character 0x85",
		"\"a\tb\"":                     "control character 0x09 at byte 3",
		"a\\\tb":                       "control character 0x09",
		`a "b`:                         "not closed",
		`a b\`:                         "backslash",
		"a \xff":                       "UTF-8",
		strings.Repeat("x", MaxLine+1): "4097 bytes",
		strings.Repeat("x", MaxLine):   "4096 bytes",
	} {
		got, err := Parse(line)
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), word) {
			t.Errorf("Parse(%q) = %q, %v; want ErrUsage with %q", line, got, err, word)
		}
	}
}

func TestQuoteKeepsPlainWords(t *testing.T) {
	words := []string{"set", "a=b", "os_version=Debian 12", "/srv/a b", "", `x"y z=1`}
	want := `set a=b os_version="Debian 12" "/srv/a b" "" "x\"y z=1"`
	if got := Quote(words...); got != want {
		t.Errorf("Quote = %s, want %s", got, want)
	}
}

func TestParseUndoesQuote(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	alphabet := []rune(` "\=ab/é漢-`)
	for range 20000 {
		words := make([]string, 1+rnd.IntN(5))
		for i := range words {
			w := make([]rune, rnd.IntN(8))
			for k := range w {
				w[k] = alphabet[rnd.IntN(len(alphabet))]
			}
			words[i] = string(w)
		}
		got, err := Parse(Quote(words...))
		if err != nil || !slices.Equal(got, words) {
			t.Fatalf("seed %d: Parse(%s) = %q, %v; want %q", seed, Quote(words...), got, err, words)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("register web /srv/web.zvhd2 description=\"a b\" format=raw\n")
	f.Add(`set description "say \"hi\" \\ there"`)
	f.Add("a\\ b\t\"\" c\"d\"e")
	f.Add("\"open")
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Parse(line)
		if err != nil {
			if !errors.Is(err, ErrUsage) || strings.ContainsFunc(err.Error(), unicode.IsControl) || !utf8.ValidString(err.Error()) {
				t.Fatalf("Parse(%q): error %q", line, err)
			}
			return
		}
		if len(words) == 0 || len(line) > MaxLine {
			t.Fatalf("Parse(%q) = %q", line, words)
		}
		quoted := Quote(words...)
		if len(quoted) > MaxLine {
			return
		}
		again, err := Parse(quoted)
		if err != nil || !slices.Equal(again, words) {
			t.Fatalf("Parse(%q) = %q, but Parse(Quote) of that = %q, %v", line, words, again, err)
		}
	})
}

// What cannot be written is refused, never taken for something else.
func TestQuotedControlCharactersAreRefused(t *testing.T) {
	for _, word := range []string{"/srv/a\tformat=raw", "/srv/a\n", "\t", "description=two\tcolumns", "key\t=x", "a\x7f"} {
		line := Quote("register", "web", word)
		if words, err := Parse(line); !errors.Is(err, ErrUsage) {
			t.Errorf("Parse(Quote(%q)) = %q, %v, want a refusal", word, words, err)
		}
	}
}
