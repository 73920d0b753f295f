package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// signatures are the functions that random templates call: their arguments and their result.
// Left out are those whose answer changes by itself, and those that need certificates.
//
//	S a constant text   C a constant dict: a map that contains itself would be printed forever
//	h hexadecimal text   v version   c constraint of versions   r regular expression   R replacement
//	z layout of dates   Z zone   T duration   k small int   n int that is not 0
//	s text   i int   j int64   f float   b bool   l list   d dict   m map of texts   x anything
//	D date   V parsed version: no x, because odd verbs of printf show their unexported fields in Go
//	* after an argument: none, one or more of it
var signatures = map[string]string{
	"upper": "s>s", "lower": "s>s", "trim": "s>s", "title": "s>s", "untitle": "s>s", "nospace": "s>s",
	"swapcase": "s>s", "snakecase": "s>s", "camelcase": "s>s", "kebabcase": "s>s", "initials": "s>s",
	"trimAll": "ss>s", "trimSuffix": "ss>s", "trimPrefix": "ss>s", "replace": "sss>s", "repeat": "ks>s",
	"trunc": "is>s", "substr": "kks>s", "abbrev": "is>s", "abbrevboth": "iis>s", "indent": "ks>s",
	"nindent": "ks>s", "wrap": "is>s", "wrapWith": "iss>s", "quote": "x*>s", "squote": "x*>s", "cat": "x*>s",
	"plural": "ssi>s", "toString": "x>s", "contains": "ss>b", "hasPrefix": "ss>b", "hasSuffix": "ss>b",
	"b64enc": "s>s", "b64dec": "s>s", "b32enc": "s>s", "b32dec": "s>s", "hexdec": "h>s",
	"sha1sum": "s>s", "sha256sum": "s>s", "sha512sum": "s>s", "adler32sum": "s>s",
	"atoi": "s>i", "int": "x>i", "int64": "x>j", "float64": "x>f", "toDecimal": "x>j",
	"add": "x*>j", "add1": "x>j", "sub": "xx>j", "mul": "xx*>j", "div": "xn>j", "mod": "xn>j",
	"max": "xx*>j", "min": "xx*>j", "floor": "x>f", "ceil": "x>f", "round": "xi>f", "addf": "x*>f",
	"subf": "xx*>f", "mulf": "xx*>f", "divf": "xn>f", "maxf": "xx*>f", "minf": "xx*>f", "add1f": "x>f",
	"until": "i>l", "untilStep": "iii>l", "seq": "i*>s",
	"list": "x*>l", "first": "l>x", "last": "l>x", "rest": "l>l", "initial": "l>l", "reverse": "l>l",
	"uniq": "l>l", "compact": "l>l", "append": "lx>l", "prepend": "lx>l", "without": "lx*>l", "has": "xl>b",
	"concat": "l*>l", "chunk": "nl>l", "sortAlpha": "l>l", "join": "sl>s", "toStrings": "l>l",
	"splitList": "ss>l", "split": "ss>m", "splitn": "sis>m", "slice": "lkk>l", "index": "lk>x", "len": "l>i",
	"dict": "sxsx>d", "get": "ds>x", "set": "dsS>d", "unset": "ds>d", "hasKey": "ds>b", "pluck": "sd*>l",
	"pick": "ds*>d", "omit": "ds*>d", "merge": "dC*>d", "mergeOverwrite": "dC*>d", "deepCopy": "l>l",
	"default": "xx>x", "empty": "x>b", "coalesce": "x*>x", "all": "x*>b", "any": "x*>b", "ternary": "xxb>x",
	"toJson": "x>s", "toPrettyJson": "x>s", "toRawJson": "x>s", "fromJson": "s>x", "toYaml": "x>s",
	"fromYaml": "s>d", "typeOf": "x>s", "kindOf": "x>s", "typeIs": "sx>b", "kindIs": "sx>b",
	"typeIsLike": "sx>b", "deepEqual": "xx>b", "regexMatch": "rs>b", "regexFind": "rs>s",
	"regexFindAll": "rsi>l", "regexReplaceAll": "rsR>s", "regexReplaceAllLiteral": "rsR>s",
	"regexSplit": "rsi>l", "regexQuoteMeta": "s>s", "base": "s>s", "dir": "s>s", "clean": "s>s", "ext": "s>s",
	"isAbs": "s>b", "semverCompare": "cv>b", "urlJoin": "d>s", "duration": "s>s", "durationRound": "s>s",
	"html": "x*>s", "js": "x*>s", "urlquery": "x*>s", "print": "x*>s", "println": "x*>s", "not": "x>b",
	"and": "xx*>x", "or": "xx*>x", "eq": "ss>b", "ne": "ii>b", "lt": "ii>b", "le": "ss>b", "gt": "ii>b",
	"ge": "ss>b", "tuple": "x*>l", "push": "lx>l", "dig": "ssxd>x", "values": "d>l", "keys": "d*>l",
	"biggest": "xx*>j", "trimall": "ss>s", "semver": "v>V", "urlParse": "s>d", "toDate": "zS>D",
	"date": "zD>s", "dateInZone": "zDZ>s", "date_in_zone": "zDZ>s", "dateModify": "TD>D", "date_modify": "TD>D",
	"htmlDate": "D>s", "htmlDateInZone": "DZ>s", "unixEpoch": "D>s", "osBase": "s>s", "osDir": "s>s",
	"osClean": "s>s", "osExt": "s>s", "osIsAbs": "s>b", "mustRegexMatch": "rs>b", "mustRegexFind": "rs>s",
	"mustRegexFindAll": "rsi>l", "mustRegexReplaceAll": "rsR>s", "mustRegexReplaceAllLiteral": "rsR>s",
	"mustRegexSplit": "rsi>l", "mustToJson": "x>s", "mustToPrettyJson": "x>s", "mustToRawJson": "x>s",
	"mustFromJson": "s>x", "mustAppend": "lx>l", "mustPush": "lx>l", "mustPrepend": "lx>l", "mustFirst": "l>x",
	"mustLast": "l>x", "mustRest": "l>l", "mustInitial": "l>l", "mustReverse": "l>l", "mustUniq": "l>l",
	"mustCompact": "l>l", "mustWithout": "lx*>l", "mustHas": "xl>b", "mustSlice": "lkk>l", "mustChunk": "nl>l",
	"mustMerge": "dC*>d", "mustMergeOverwrite": "dC*>d", "mustDeepCopy": "l>l", "mustToDate": "zS>D",
	"mustDateModify": "TD>D", "must_date_modify": "TD>D",
}

// names are in a fixed order, so that a seed always means the same.
var names = sortedKeys(signatures)

var (
	randomTexts = []string{
		"", "a", "abc", "Hello World", "  spaced  ", "a,b,,c", "line one\nline two\n", "Grüße, 世界",
		"42", "-7", "0x1F",
		"3.5", "1e3", "true", "<a href='x'>&\"</a>", "fooBarBaz", "foo_bar-baz", "YWJj", "616263", "a\tb\\c",
		"{\"a\": [1, 2.5, null], \"b\": {\"c\": \"d\"}}", "a: 1\nb: [x, y]\n", "[1, 2", "1.2.3",
		">=1.0", "/etc/../tmp/x.tar.gz",
		"$1", "%d %s", "\xff\xfe", "caf\xc3", "90", "2h45m", "é", "{{ .a }}",
	}
	randomObjects = []string{
		"{\"a\": [1, 2.5, null], \"b\": {\"c\": \"d\"}}", "{}",
		"{\"k\": \"<v>\", \"n\": 12345678901234567890, \"é\": true}",
		"{\"scheme\": \"http\", \"host\": \"h:1\", \"query\": \"a=b\", \"yes\": \"no\", \"0x1\": 1e100}",
	}
	randomPatterns = []string{
		"a+", "[a-z]+", "(\\w)(\\w)", "^\\s*", "\\d", "b*", "[^,]", "(?i)HELLO", "(", "$", ".", "l{2}",
	}
	randomInts = []string{
		"0", "1", "2", "3", "-1", "5", "10", "64", "0x1f", "0b11", "0o17", "1_0", "'a'", "-3",
	}
	randomFloats = []string{"0.0", "1.5", "-2.25", "1e3", "0x1p-2", "3.14159", "100.0", "1e21", "1e-7"}
	randomVerbs  = []string{
		"%v", "%d", "%s", "%q", "%x", "%T", "%5d|", "%-8v|", "%05d", "%+d", "%.2f", "%t", "%c", "%U",
		"%#v", "%8.3s|", "%e",
		"%g", "%o", "%b", "%X", "%%", "%#x", "% x", "%+v", "%*d", "%[2]v", "%z", "%!",
	}
	randomLayouts = []string{
		"2006-01-02", "2006-01-02T15:04:05Z07:00", "Mon, 2 Jan 06 3:04 PM", "Monday _2 January 2006 -0700 MST",
		"15:04:05.000", "15h 4m 5s .999999", "002 __2", "", "x", "01/02 03:04:05PM '06 -0700",
	}
	randomDicts = []string{
		"(dict)", "(dict \"a\" 1)", "(dict \"b\" \"x\" \"a\" (list 1 2))",
		"(dict \"k\" (dict \"l\" nil))", "(fromJson $.json)",
		"(dict \"scheme\" \"https\" \"host\" \"example.org\" \"path\" \"/a b\")",
	}
	dataKeys = []string{"a", "b", "name", "json", "number"}
)

// author writes one random template.
type author struct {
	random *rand.Rand
	// budget is how many expressions may still be nested.
	budget    int
	variables int
	templates int
	text      strings.Builder
	// defined are the templates that it calls.
	defined string
}

type randomCase struct {
	ID       int               `json:"id"`
	Template []byte            `json:"template"`
	Data     map[string][]byte `json:"data"`
}

// printRandomCases leaves out cases whose answer is large or takes long: the same seed gives the same
// cases, as far as the slow ones are slow everywhere. A file of the corpus has no case whose answer
// changes by itself; who reads lines asks again where answers differ.
func printRandomCases(output io.Writer, count int, seed uint64, asYAML bool) error {
	random := rand.New(rand.NewPCG(seed, seed))
	var cases []testCase
	repeat := 0
	if asYAML {
		repeat = repetitions
	}
	lines := json.NewEncoder(output)
	for id := 1; id <= count; {
		text, data := newCase(random)
		if !isUsable(text, data, repeat) {
			continue
		}
		if asYAML {
			cases = append(cases, readable(text, data))
		} else if err := lines.Encode(randomCase{id, []byte(text), asBytes(data)}); err != nil {
			return err
		}
		id++
	}
	if !asYAML {
		return nil
	}
	content, err := yaml.Marshal(cases)
	if err != nil {
		return err
	}
	heading := fmt.Sprintf("# Random templates, as `oracle -generate %d -seed %d -yaml` prints them.", count, seed)
	_, err = fmt.Fprintf(output, "%s\n%s", heading, content)
	return err
}

func newCase(random *rand.Rand) (string, map[string]string) {
	data := map[string]string{}
	for _, key := range dataKeys {
		// Some keys are missing, which is an error where they are used.
		if random.IntN(80) > 0 {
			data[key] = pick(random, randomTexts)
		}
	}
	if random.IntN(4) > 0 {
		data["json"] = pick(random, randomObjects)
	}
	author := &author{random: random, budget: 4 + random.IntN(12)}
	for range 1 + random.IntN(3) {
		author.construct(0)
	}
	return author.defined + author.text.String(), data
}

func isUsable(text string, data map[string]string, repetitions int) bool {
	parsed := prepare([]byte(text))
	first := parsed.render(data, generatorLimit)
	if len(first.output) > 4096 || strings.Contains(first.message, "it was not done") {
		return false
	}
	for range repetitions {
		if !first.equals(parsed.render(data, generatorLimit)) {
			return false
		}
	}
	return true
}

func readable(text string, data map[string]string) testCase {
	result := testCase{Data: map[string]string{}, DataBase64: map[string][]byte{}}
	if utf8.ValidString(text) {
		result.Template = text
	} else {
		result.TemplateBase64 = []byte(text)
	}
	for key, value := range data {
		if !strings.Contains(text, key) && !strings.Contains(text, "$") && !strings.Contains(text, " .") {
			continue
		}
		if utf8.ValidString(value) {
			result.Data[key] = value
		} else {
			result.DataBase64[key] = []byte(value)
		}
	}
	return result
}

func asBytes(data map[string]string) map[string][]byte {
	result := make(map[string][]byte, len(data))
	for key, value := range data {
		result[key] = []byte(value)
	}
	return result
}

// construct writes text, an action or a control structure.
func (a *author) construct(depth int) {
	if depth > 3 {
		a.action()
		return
	}
	variables := a.variables
	switch a.random.IntN(16) {
	case 0:
		a.write(pick(a.random, []string{"text", " ", "\n", "a\n  b", "Grüße", "}", "{ { "}))
	case 1, 2:
		a.open("if " + a.pipeline(2))
		a.construct(depth + 1)
		for range a.random.IntN(2) {
			a.open("else if " + a.pipeline(2))
			a.construct(depth + 1)
		}
		a.otherwise(depth, variables)
		a.end(variables)
	case 3:
		value := a.pipeline(2)
		a.open("with " + a.declared() + value)
		a.construct(depth + 1)
		a.otherwise(depth, variables)
		a.end(variables)
	case 4, 5, 6:
		a.loop(depth)
		a.end(variables)
	case 7:
		name := strconv.Quote(fmt.Sprint("t", a.templates))
		a.templates++
		a.define(name, depth)
		a.open("template " + name + " " + a.dot())
	case 8:
		name := strconv.Quote(fmt.Sprint("b", a.templates))
		a.templates++
		a.open("block " + name + " " + a.dot())
		a.variables = 0
		a.construct(depth + 1)
		a.end(variables)
	case 9:
		a.open("/* a comment */")
	case 10:
		value := a.pipeline(2)
		a.open(a.declared() + value)
		a.construct(depth + 1)
		return
	case 11:
		if a.variables > 0 {
			a.open(fmt.Sprintf("$v%d = ", a.random.IntN(a.variables)) + a.pipeline(2))
			return
		}
		a.action()
	default:
		a.action()
	}
	if depth < 2 && a.random.IntN(3) == 0 {
		a.construct(depth + 1)
	}
}

// dot of a called template: mostly all data, so that its keys work there.
func (a *author) dot() string {
	if a.random.IntN(8) > 0 {
		return "$"
	}
	return a.value('x', 1)
}

// define writes a template before all else: it may not be inside of anything. It sees no variable.
func (a *author) define(name string, depth int) {
	inner := &author{random: a.random, budget: a.budget / 2, templates: a.templates}
	inner.construct(depth + 2)
	a.templates = inner.templates
	a.defined += inner.defined + "{{define " + name + "}}" + inner.text.String() + "{{end}}"
}

func (a *author) loop(depth int) {
	outer := a.variables
	list := []string{
		a.value('l', 2), a.value('d', 2), "list 1 \"two\" nil 4.5", "until 4", "$", a.value('i', 1),
	}
	header := "range "
	switch a.random.IntN(3) {
	case 0:
		header += fmt.Sprintf("$v%d := ", a.variables)
		a.variables++
	case 1:
		header += fmt.Sprintf("$v%d, $v%d := ", a.variables, a.variables+1)
		a.variables += 2
		// Go refuses two variables for a number.
		list = list[:len(list)-1]
	}
	a.open(header + pick(a.random, list))
	a.construct(depth + 1)
	if a.random.IntN(3) == 0 {
		a.open("if " + a.pipeline(1))
		a.open(pick(a.random, []string{"break", "continue"}))
		a.open("end")
	}
	a.construct(depth + 1)
	a.otherwise(depth, outer)
}

// otherwise does not see what the condition declares.
func (a *author) otherwise(depth, variables int) {
	a.variables = variables
	if a.random.IntN(2) == 0 {
		a.open("else")
		a.construct(depth + 1)
	}
}

// end closes a structure; what was declared in it is gone.
func (a *author) end(variables int) {
	a.open("end")
	a.variables = variables
}

func (a *author) declared() string {
	a.variables++
	return fmt.Sprintf("$v%d := ", a.variables-1)
}

func (a *author) action() {
	if a.random.IntN(30) == 0 {
		text, _ := a.call("DV"[a.random.IntN(2)], 2)
		a.open(text)
		return
	}
	a.open(a.pipeline(3))
}

// open writes an action between its delimiters, some of which trim.
func (a *author) open(action string) {
	left, right := "{{", "}}"
	if a.random.IntN(6) == 0 || strings.HasPrefix(action, "-") {
		left = "{{- "
	}
	if a.random.IntN(6) == 0 {
		right = " -}}"
	}
	a.write(left + action + right)
}

func (a *author) write(text string) {
	a.text.WriteString(text)
}

func (a *author) pipeline(depth int) string {
	text, kind := a.call('x', depth)
	for a.random.IntN(3) == 0 {
		name, arguments, result := a.function(func(arguments, _ string) bool {
			return arguments[len(arguments)-1] == 'x' || arguments[len(arguments)-1] == kind
		})
		arguments = strings.TrimSuffix(arguments, "*")
		text += " | " + name + a.arguments(arguments[:len(arguments)-1], 1)
		kind = result
	}
	return text
}

// call is a function with its arguments where one gives the wanted type, else a value; and the
// type.
func (a *author) call(wanted byte, depth int) (string, byte) {
	a.budget--
	if depth <= 0 || a.budget <= 0 || strings.IndexByte("rRhvcknSCzZT", wanted) >= 0 || a.random.IntN(6) == 0 {
		return a.value(wanted, depth), wanted
	}
	if a.random.IntN(12) == 0 && (wanted == 's' || wanted == 'x') {
		verbs := pick(a.random, randomVerbs) + pick(a.random, []string{"", "/" + pick(a.random, randomVerbs)})
		return "printf " + strconv.Quote(verbs) + a.arguments("xx"[:a.random.IntN(3)], depth-1), 's'
	}
	name, arguments, result := a.function(func(_, result string) bool {
		return result[0] == wanted || wanted == 'x' && !strings.Contains("DV", result)
	})
	return name + a.arguments(arguments, depth-1), result
}

// function is one that fits, nearly always.
func (a *author) function(fits func(arguments, result string) bool) (name, arguments string, result byte) {
	isCareless := a.random.IntN(60) == 0
	for {
		name := pick(a.random, names)
		arguments, result, _ := strings.Cut(signatures[name], ">")
		last := strings.TrimSuffix(arguments, "*")
		if fits(last, result) || isCareless && !strings.Contains("DV", result) {
			return name, arguments, result[0]
		}
	}
}

func (a *author) arguments(types string, depth int) string {
	text := ""
	for i := 0; i < len(types); i++ {
		count := 1
		if i+1 < len(types) && types[i+1] == '*' {
			count = a.random.IntN(4)
		}
		for range count {
			if types[i] != '*' {
				text += " " + a.value(types[i], depth)
			}
		}
	}
	// Sometimes there is one too many.
	if a.random.IntN(200) == 0 {
		text += " 1"
	}
	return text
}

// value is an operand: a constant, a variable, a key of the data, or a call in parentheses.
func (a *author) value(wanted byte, depth int) string {
	switch wanted {
	case 'S':
		return quoted(a.random, pick(a.random, randomTexts))
	case 'C':
		return pick(a.random, randomDicts)
	}
	if a.random.IntN(50) == 0 {
		wanted = "sifbldx"[a.random.IntN(7)]
	}
	if depth > 0 && a.budget > 0 && a.random.IntN(2) == 0 {
		text, _ := a.call(wanted, depth)
		return "(" + text + ")"
	}
	if a.variables > 0 && a.random.IntN(3) == 0 && (wanted == 'x' || a.random.IntN(15) == 0) {
		return fmt.Sprintf("$v%d", a.random.IntN(a.variables))
	}
	switch wanted {
	case 's':
		if a.random.IntN(2) == 0 {
			return "$." + pick(a.random, dataKeys)
		}
		return quoted(a.random, pick(a.random, randomTexts))
	case 'r':
		if a.random.IntN(3) == 0 {
			return quoted(a.random, pick(a.random, randomPatterns))
		}
		return quoted(a.random, expression(a.random, 2))
	case 'R':
		if a.random.IntN(3) == 0 {
			return a.value('s', depth)
		}
		return quoted(a.random, replacement(a.random))
	case 'z':
		return quoted(a.random, pick(a.random, randomLayouts))
	case 'Z':
		return quoted(a.random, pick(a.random, []string{"UTC", "Local", "", "Europe/Berlin", "America/New_York", "Nowhere"}))
	case 'T':
		return quoted(a.random, pick(a.random, []string{"1h", "-24h", "90m30s", "1.5s", "8760h", "", "x", "-0.5h"}))
	case 'V':
		return "(semver " + a.value('v', depth) + ")"
	case 'D':
		return "(toDate \"2006-01-02 15:04:05\" " + quoted(a.random, pick(a.random, []string{
			"2024-02-29 23:59:59", "1970-01-01 00:00:00", "2026-12-31 12:00:00", "0001-01-01 00:00:00", "none",
		})) + ")"
	case 'h':
		return quoted(a.random, pick(a.random, []string{"", "616263", "FFfe00", "c3a9", "abc", "zz"}))
	case 'v':
		return quoted(a.random, pick(a.random, []string{"1.2.3", "v1.0", "2.0.0-rc.1+b.7", "0.0.1", "1", "x"}))
	case 'c':
		return quoted(a.random, pick(a.random, []string{
			">=1.0", "~1.2", "^0.0.1 || 2.x", "1.0 - 2.0", "*", "=v1.2.3, !=2",
		}))
	case 'k':
		return pick(a.random, []string{"0", "1", "1", "2", "3"})
	case 'n':
		return pick(a.random, []string{"1", "2", "3", "-4", "10"})
	case 'i':
		return pick(a.random, randomInts)
	case 'j':
		return "(int64 " + pick(a.random, randomInts) + ")"
	case 'f':
		return pick(a.random, randomFloats)
	case 'b':
		return pick(a.random, []string{"true", "false"})
	case 'l':
		return pick(a.random, []string{
			"(list)", "(list 1 2 3)", "(list \"b\" \"a\" \"b\")", "(list 1.5 nil \"\" false)", "(until 3)",
			"(splitList \",\" $.a)", "(list (list 1 2) (dict \"k\" \"v\"))",
		})
	case 'm':
		return pick(a.random, []string{"(split \",\" $.a)", "$"})
	case 'd':
		return pick(a.random, randomDicts)
	}
	return a.value("sssiifbbld"[a.random.IntN(10)], depth)
}

// quoted is a string constant in one of Go's two forms.
func quoted(random *rand.Rand, text string) string {
	if utf8.ValidString(text) && !strings.Contains(text, "`") && random.IntN(4) == 0 {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

func pick[T any](random *rand.Rand, from []T) T {
	return from[random.IntN(len(from))]
}

func sortedKeys(of map[string]string) []string {
	keys := make([]string, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
