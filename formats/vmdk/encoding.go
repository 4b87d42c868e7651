package vmdk

import (
	"errors"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
)

// windowsNames are names of code pages that VMware writes and the index does not have.
var windowsNames = map[string]string{
	"windows-932": "shift_jis", "cp932": "shift_jis", "ms932": "shift_jis",
	"windows-936": "gbk", "cp936": "gbk", "ms936": "gbk",
	"cp949": "euc-kr", "ms949": "euc-kr",
	"windows-950": "big5", "cp950": "big5", "ms950": "big5",
}

// decodeNames turns the file names of the descriptor into UTF-8. They are in the code page that the
// line encoding= names, as in encoding="GBK"; the rest of the text is ASCII in all of them.
func (p *parser) decodeNames(at int64) error {
	names := []*string{&p.d.parentHint}
	for i := range p.d.extents {
		names = append(names, &p.d.extents[i].file)
	}
	declared := p.seen["encoding"]
	for _, s := range names {
		if isASCII(*s) || declared == "" || strings.EqualFold(declared, "UTF-8") {
			continue
		}
		enc, err := findEncoding(declared)
		if err != nil {
			return p.file.unsupported("the name %s is in encoding %s, which is not known: the ones known are UTF-8 and those of the WHATWG, such as GBK, Shift_JIS, Big5 and windows-1252",
				shorten(*s), shorten(declared))
		}
		decoded, err := enc.NewDecoder().String(*s)
		if err != nil || strings.ContainsRune(decoded, utf8.RuneError) {
			return p.file.corrupt(at, "descriptor: the name %s must be text in encoding %s", shorten(*s), shorten(declared))
		}
		*s = decoded
	}
	return nil
}

var errNotASCII = errors.New("ASCII text is something else in it")

// findEncoding finds a code page in which ASCII text is ASCII.
func findEncoding(name string) (encoding.Encoding, error) {
	name = strings.ToLower(strings.TrimSpace(name))
	if other := windowsNames[name]; other != "" {
		name = other
	}
	enc, err := htmlindex.Get(name)
	if err != nil {
		return nil, err
	}
	if canonical, _ := htmlindex.Name(enc); strings.HasPrefix(canonical, "utf-16") || canonical == "iso-2022-jp" || canonical == "replacement" {
		return nil, errNotASCII
	}
	return enc, nil
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
}
