package command

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is the most bytes a command may have, with its newline.
const MaxLine = 4096

// Parse splits a command into its words. A line is UTF-8 without control characters; one newline
// may end it. Words are separated by spaces or tabs. A double quote begins and ends a part of a
// word in which these stand for themselves. A backslash, inside quotes or out, makes the next
// character stand for itself. Errors are ErrUsage.
func Parse(line string) ([]string, error) {
	line = strings.TrimSuffix(line, "\n")
	// MaxLine bytes without a newline are refused, too: a line that a pipe cut off looks so, and
	// half of a line must not be obeyed.
	if len(line) >= MaxLine {
		return nil, Refuse(ErrUsage, "a line of %d bytes: at most %d are taken", len(line), MaxLine-1)
	}
	if !utf8.ValidString(line) {
		return nil, Refuse(ErrUsage, "the line is not UTF-8")
	}
	var s splitter
	for at, c := range line {
		if err := s.next(at, c); err != nil {
			return nil, err
		}
	}
	switch {
	case s.escaped:
		return nil, Refuse(ErrUsage, "the line ends with a backslash that has nothing to quote")
	case s.quoted:
		return nil, Refuse(ErrUsage, "a double quote is not closed")
	}
	s.endWord()
	if len(s.words) == 0 {
		return nil, Refuse(ErrUsage, "the line is empty")
	}
	return s.words, nil
}

// splitter is the state between two characters of a line.
type splitter struct {
	words           []string
	word            strings.Builder
	inWord          bool // also in "", a word of no characters
	quoted, escaped bool
}

func (s *splitter) next(at int, c rune) error {
	literal := s.quoted || s.escaped
	switch {
	case unicode.IsControl(c) && (c != '\t' || literal):
		if c == '\n' {
			return Refuse(ErrUsage, "more than one line: a command is one")
		}
		return Refuse(ErrUsage, "control character %#02x at byte %d", c, at+1)
	case s.escaped:
		s.escaped = false
		s.word.WriteRune(c)
	case c == '\\':
		s.escaped, s.inWord = true, true
	case c == '"':
		s.quoted, s.inWord = !s.quoted, true
	case !s.quoted && (c == ' ' || c == '\t'):
		s.endWord()
	default:
		s.inWord = true
		s.word.WriteRune(c)
	}
	return nil
}

func (s *splitter) endWord() {
	if !s.inWord {
		return
	}
	s.words = append(s.words, s.word.String())
	s.word.Reset()
	s.inWord = false
}

// Quote makes a line of words: Parse(Quote(words...)) gives them back if they are UTF-8 without
// control characters, and short enough. A plain word stays as it is; in KEY=VALUE only the value is
// quoted.
func Quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quoteWord(w)
	}
	return strings.Join(quoted, " ")
}

// special tells what does not stand for itself outside quotes. Control characters do not inside
// either: Parse refuses them there, where a bare tab would part one word into two and a bare
// newline would be taken for the line's end.
func special(c rune) bool { return c == ' ' || c == '"' || c == '\\' || unicode.IsControl(c) }

func quoteWord(w string) string {
	if w != "" && !strings.ContainsFunc(w, special) {
		return w
	}
	key, value, ok := strings.Cut(w, "=")
	if !ok || strings.ContainsFunc(key, special) {
		key, value = "", w
	} else {
		key += "="
	}
	return key + `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + `"`
}
