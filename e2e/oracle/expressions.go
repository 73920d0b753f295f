package main

import (
	"math/rand/v2"
	"strings"
)

// The parts of random regular expressions: what is written differently in other dialects, or means
// something else there, comes often.
var (
	expressionAtoms = []string{
		"a", "b", "l", "o", "é", "1", "_", "-", " ", ",", "{", "}", "]", "{,2}", "&", "~", "#", "<", ".", "^", "$",
		`\w`, `\W`, `\d`, `\D`, `\s`, `\S`, `\b`, `\B`, `\A`, `\z`, `\.`, `\-`, `\/`, `\n`, `\t`, `\a`, `\v`, `\x41`,
		`\x{e9}`, `\x{110000}`, `\101`, `\07`, `\1`, `\Q.\E`, `\Q+`, `\pL`, `\PN`, `\p{Greek}`, `\p{^Lu}`, `\P{Han}`,
		`\p{L}`, `\C`, `\Z`, `\<`, `\_`, `\é`, `\p{}`, `\pX`, "(?i)", "(?s)", "(?m)", "(?-i)", "(?U)",
	}
	classParts = []string{
		"a", "b-d", "a-", "-", "^", "é", "é-ü", "[", "&&", "--", "~~", `\w`, `\W`, `\d`, `\S`, `\b`, `\]`, `\-`, `\x41-\x5a`,
		"[:alpha:]", "[:^digit:]", "[:word:]", "[:space:]", "[:nope:]", "[:", `\pL`, `\PL`, `\p{Lu}`, "0-9", "z-a", " ", "|",
		"{", ".", "$", `\n`, `\z`, "#",
	}
	quantifiers = []string{
		"*", "+", "?", "*?", "+?", "??", "{2}", "{1,}", "{0,2}", "{1,2}?", "{0}", "{2,1}", "{1001}", "**", "+*", "{1}{2}",
	}
	openings     = []string{"(", "(", "(?:", "(?P<n>", "(?<n>", "(?P<m_1>", "(?i:", "(?s:", "(?m-i:", "(?=", "(?P=n)", "(?#"}
	replacements = []string{
		"$0", "$1", "${1}", "$1x", "${1}x", "$n", "${n}", "$m_1", "${m_1}", "$$", "$", "${", "${1", "${01}", "$é", "$-", "<$2>", "x",
	}
)

// expression is nearly always one that Go takes.
func expression(random *rand.Rand, depth int) string {
	var text strings.Builder
	for range 1 + random.IntN(3) {
		text.WriteString(atom(random, depth))
		if random.IntN(3) == 0 {
			text.WriteString(pick(random, quantifiers))
		}
	}
	if random.IntN(6) == 0 {
		text.WriteString("|")
		text.WriteString(atom(random, depth))
	}
	return text.String()
}

func atom(random *rand.Rand, depth int) string {
	switch choice := random.IntN(8); {
	case choice == 0:
		return class(random)
	case choice == 1 && depth > 0:
		return pick(random, openings) + expression(random, depth-1) + ")"
	default:
		return pick(random, expressionAtoms)
	}
}

func class(random *rand.Rand) string {
	text := pick(random, []string{"[", "[", "[^", "[]", "[^]"})
	for range 1 + random.IntN(3) {
		text += pick(random, classParts)
	}
	return text + "]"
}

func replacement(random *rand.Rand) string {
	text := ""
	for range 1 + random.IntN(2) {
		text += pick(random, replacements)
	}
	return text
}
