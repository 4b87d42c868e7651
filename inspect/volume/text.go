package volume

import (
	"strconv"
	"strings"

	"github.com/imsfs/imsfs/inspect/disk"
)

// section is a block of LVM2's text metadata. Names keep their order.
type section struct {
	names    []string
	sections map[string]*section
	values   map[string][]value
}

// value is a string or a number.
type value struct {
	text   string
	number int64
}

const (
	maxSections = 8192
	maxNesting  = 8
)

// parser reads the text metadata: NAME { … }, KEY = VALUE, KEY = [ VALUE, … ], and comments.
type parser struct {
	text     string
	sections int
}

func parseText(text string) (*section, error) {
	p := &parser{text: text}
	return p.section(0)
}

func corrupt(rule string, args ...any) error {
	return disk.Corrupt("lvm", "text metadata", rule, args...)
}

// token returns the next token; "" at the end. A string begins with a quote.
func (p *parser) token() (string, error) {
	for {
		p.text = strings.TrimLeft(p.text, " \t\r\n")
		if !strings.HasPrefix(p.text, "#") {
			break
		}
		_, p.text, _ = strings.Cut(p.text, "\n")
	}
	if p.text == "" || p.text[0] == 0 {
		return "", nil
	}
	end := 1
	switch c := p.text[0]; {
	case c == '"':
		for end < len(p.text) && p.text[end] != '"' {
			if p.text[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(p.text) {
			return "", corrupt("a string without an end")
		}
		end++
	case strings.IndexByte("{}[]=,", c) >= 0:
	default:
		for end < len(p.text) && strings.IndexByte("{}[]=, \t\r\n#\"\x00", p.text[end]) < 0 {
			end++
		}
	}
	token := p.text[:end]
	p.text = p.text[end:]
	return token, nil
}

func (p *parser) section(depth int) (*section, error) {
	s := &section{sections: map[string]*section{}, values: map[string][]value{}}
	if p.sections++; p.sections > maxSections || depth > maxNesting {
		return nil, corrupt("more than %d sections, or %d inside each other", maxSections, maxNesting)
	}
	for {
		name, err := p.token()
		if err != nil {
			return nil, err
		}
		if name == "" && depth == 0 || name == "}" && depth > 0 {
			return s, nil
		}
		sign, err := p.token()
		if err != nil {
			return nil, err
		}
		switch sign {
		case "{":
			inner, err := p.section(depth + 1)
			if err != nil {
				return nil, err
			}
			s.names = append(s.names, name)
			s.sections[name] = inner
		case "=":
			if s.values[name], err = p.values(); err != nil {
				return nil, err
			}
		default:
			return nil, corrupt("%q follows %q", sign, name)
		}
	}
}

// values reads a value or a list.
func (p *parser) values() ([]value, error) {
	token, err := p.token()
	if err != nil || token != "[" {
		return []value{parseValue(token)}, err
	}
	var list []value
	for {
		token, err := p.token()
		switch {
		case err != nil:
			return nil, err
		case token == "]":
			return list, nil
		case token == "":
			return nil, corrupt("a list without an end")
		case token != ",":
			list = append(list, parseValue(token))
		}
	}
}

func parseValue(token string) value {
	if strings.HasPrefix(token, `"`) {
		return value{text: strings.ReplaceAll(token[1:len(token)-1], `\`, "")}
	}
	n, err := strconv.ParseInt(token, 10, 64)
	if err != nil {
		n = -1
	}
	return value{text: token, number: n}
}

// number returns a value from 0 to 2^40, or -1.
func (s *section) number(name string) int64 {
	v := s.values[name]
	if len(v) != 1 || v[0].number < 0 || v[0].number > 1<<40 {
		return -1
	}
	return v[0].number
}

func (s *section) text(name string) string {
	if v := s.values[name]; len(v) == 1 {
		return v[0].text
	}
	return ""
}

func (s *section) has(list, text string) bool {
	for _, v := range s.values[list] {
		if v.text == text {
			return true
		}
	}
	return false
}
