package main

import (
	"math/rand"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
)

// generator makes documents and paths from a small grammar, so that paths often find something.
//
// It writes no modifier, multipath or literal, and no string value with a bracket in it.
type generator struct {
	random *rand.Rand
}

func (g generator) pick(choices ...string) string {
	return choices[g.random.Intn(len(choices))]
}

func (g generator) chance(percent int) bool {
	return g.random.Intn(100) < percent
}

// document also gives what each path over it starts with, so that it can be read at all.
func (g generator) document() (document, prefix string) {
	if g.chance(3) {
		return g.value(3) + g.pick("\n", " ", "\n\n") + g.value(3) + "\n" + g.value(2), ".."
	}
	return g.space() + g.container(4) + g.space(), ""
}

func (g generator) space() string {
	if g.chance(85) {
		return ""
	}
	return g.pick(" ", "\n", "\t", "\r\n  ")
}

func (g generator) container(depth int) string {
	count := g.random.Intn(5)
	var parts []string
	if g.chance(50) {
		for range count {
			parts = append(parts, g.space()+g.value(depth-1)+g.space())
		}
		return "[" + strings.Join(parts, ",") + g.space() + "]"
	}
	for range count {
		parts = append(parts, g.space()+g.key()+g.space()+":"+g.space()+g.value(depth-1)+g.space())
	}
	return "{" + strings.Join(parts, ",") + g.space() + "}"
}

func (g generator) key() string {
	if g.chance(75) {
		return g.pick(`"a"`, `"b"`, `"c"`)
	}
	return g.pick(`""`, `"a.b"`, `"ab"`, `"a*"`, `"b?"`, `"a|b"`, `"#"`, `"0"`, `"1"`, `"é"`, `"日本"`, `"a\"b"`, `"a\\b"`,
		`"\u0061"`, `"\ud83d\ude00"`, `"a b"`, `"@x"`, `"#(a"`, `"a\\"`, `"\/"`, `"b)"`, `"#(a==1)"`, `"!"`, `"{"`)
}

func (g generator) value(depth int) string {
	if depth > 0 && g.chance(55) {
		return g.container(depth)
	}
	return g.pick(`1`, `2`, `0`, `-1`, `1.0`, `1e2`, `12345678901234567890`, `0.1`, `true`, `false`, `null`, `"a"`, `"b"`,
		`"1"`, `"true"`, `"F"`, `""`, `"ab"`, `"a.b"`, `"a\"b"`, `"a\\b"`, `"\u00e9"`, `"é"`, `"a*b"`, `"x|y"`, `"\ud800"`,
		`"line\nend"`, `"T"`, `"zz"`)
}

// path is either made without a look at the document, or follows one way through it, with some detours.
func (g generator) path(document string) string {
	if g.chance(60) {
		return g.way(gjson.Parse(document))
	}
	if g.chance(20) {
		return g.soup()
	}
	var path strings.Builder
	if g.chance(4) {
		path.WriteString("..")
	}
	count := 1 + g.random.Intn(4)
	for position := range count {
		if position > 0 {
			path.WriteString(g.separator())
		}
		path.WriteString(g.component(2))
	}
	if g.chance(3) {
		path.WriteString(g.pick(".", "|", `\`, "#", ".."))
	}
	return path.String()
}

// way picks members and elements that there are, down to a random depth.
func (g generator) way(value gjson.Result) string {
	var path strings.Builder
	for {
		var names []string
		var values []gjson.Result
		value.ForEach(func(key, value gjson.Result) bool {
			names, values = append(names, key.String()), append(values, value)
			return true
		})
		if len(values) == 0 {
			return path.String()
		}
		choice := g.random.Intn(len(values))
		switch {
		case g.chance(8):
			path.WriteString(g.component(2))
		case value.IsObject():
			path.WriteString(g.nameOf(names[choice]))
		default:
			path.WriteString(g.choiceOf(values[choice], choice))
		}
		value = values[choice]
		if !value.IsObject() && !value.IsArray() || g.chance(12) {
			return path.String()
		}
		path.WriteString(g.separator())
	}
}

func (g generator) nameOf(name string) string {
	var escaped strings.Builder
	for position, character := range name {
		switch {
		case g.chance(6):
			escaped.WriteString("*")
			continue
		case g.chance(6):
			escaped.WriteString("?")
			continue
		case strings.ContainsRune(`.|*?\#@{[!`, character), position > 0 && g.chance(3):
			escaped.WriteString(`\`)
		}
		escaped.WriteRune(character)
	}
	return escaped.String()
}

// choiceOf picks an element by its position, with its like, or by a query that it often meets.
func (g generator) choiceOf(element gjson.Result, position int) string {
	if g.chance(40) {
		return strconv.Itoa(position)
	}
	if g.chance(40) {
		return "#"
	}
	path := ""
	if element.IsObject() || element.IsArray() {
		path = g.way(element)
		element = element.Get(path)
	}
	operand := g.operand()
	if g.chance(60) && !element.IsObject() && !element.IsArray() {
		operand = element.Raw
	}
	operator := g.pick("==", "==", "==", "=", "!=", "<", "<=", ">", ">=", "%", "!%")
	return "#(" + path + operator + operand + ")" + g.pick("", "#")
}

func (g generator) separator() string {
	if g.chance(80) {
		return "."
	}
	return g.pick("|", "|", "|", "..", "|..")
}

func (g generator) component(depth int) string {
	switch choice := g.random.Intn(100); {
	case choice < 35:
		return g.pick("a", "b", "c")
	case choice < 50:
		return g.pick("0", "1", "2", "00", "01", "9", "-1")
	case choice < 60:
		return "#"
	case choice < 72 && depth > 0:
		return g.query(depth)
	case choice < 84:
		return g.pick("*", "?", "a*", "*b", "?b", "*a*", "a?b", "??", "**", "*.b", `a\*`, `*\*`, `b\?`, `a\\*`, `*\\`)
	default:
		return g.pick("", `a\.b`, "ab", `a\|b`, "é", "日本", `a"b`, `a\"b`, `a\\b`, `a\b`, "😀", "a b", "@x", `\#`, "#x", "a#",
			`\@x`, " a", `\a`, `a\\`, `/`, `\1`, "#(a", `\#(a`, "b)")
	}
}

func (g generator) query(depth int) string {
	open, close := "(", ")"
	if g.chance(5) {
		open, close = "[", "]"
	}
	var path string
	if g.chance(65) {
		path = g.component(depth - 1)
		if g.chance(30) {
			path += g.separator() + g.component(depth-1)
		}
	}
	condition := g.space() + path + g.space()
	if g.chance(85) {
		condition += g.pick("==", "=", "!=", "<", "<=", ">", ">=", "%", "!%", "==", "==", "!", "=!") + g.space() + g.operand() + g.space()
	}
	query := "#" + open + condition + close
	if g.chance(50) {
		query += "#"
	}
	if g.chance(2) {
		query += g.pick("x", "##", " ")
	}
	return query
}

func (g generator) operand() string {
	if g.chance(30) {
		return g.pick("~true", "~false", "~null", "~*", "~x", `"~true"`, "~")
	}
	return g.pick("1", "0", "2", "1.0", "-1", "100", "true", "false", "null", `"a"`, `"b"`, `"1"`, `"a*"`, `"*b"`, `"?"`, `"*"`, "a",
		"b", `"a.b"`, `"a\"b"`, `"a\\b"`, `"a\\\\b"`, `"\u00e9"`, `é`, `""`, "", `"x|y"`, `"a\\*b"`, `*a*`, "12345678901234567890",
		"1_0", "inf", "nan", "1e2", `"`, `a"b`, `"a)b"`)
}

// soup is text without a plan.
func (g generator) soup() string {
	var path strings.Builder
	for range 1 + g.random.Intn(14) {
		path.WriteString(g.pick("a", "b", "0", "1", ".", ".", ".", "#", "#", "#(", "#(", "(", ")", ")", "|", "*", "?", `\`, "=", "==", "%",
			`"`, `"`, " ", "~", "<", ">", "!=", "é", "#["))
	}
	return path.String()
}
