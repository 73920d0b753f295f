package main

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/Masterminds/sprig/v3"
)

var sortAlpha = sprig.TxtFuncMap()["sortAlpha"].(func(any) []string)

// followedQuotation is a quoted text with something after it on its line, which our parser refuses.
var followedQuotation = regexp.MustCompile(`^\s*("(\\.|[^"\\])*"|'(''|[^'])*')[ \t]*[^ \t\r\n#]`)

var sliced = sprig.TxtFuncMap()["mustSlice"].(func(any, ...any) (any, error))

func withinList(list any, indices ...any) (any, error) {
	if value := reflect.ValueOf(list); value.Kind() == reflect.Slice {
		list = value.Slice3(0, value.Len(), value.Len()).Interface()
	}
	return sliced(list, indices...)
}

// onPurpose are functions as Waypost has them where it differs on purpose (`LEFT_OUT` in
// template/tests/oracle/main.rs), so that random templates may call them too.
var onPurpose = template.FuncMap{
	// What is wrong with a text names no part of it.
	"fromYaml": func(text string) map[string]any {
		values := fromYAML(text)
		said, isText := values["Error"].(string)
		isNone := isText && strings.HasPrefix(said, "error converting YAML to JSON")
		if isNone || !utf8.ValidString(text) || followedQuotation.MatchString(text) {
			return map[string]any{"Error": "the text is not YAML"}
		}
		return values
	},
	// A slice ends where its list ends, also where Go has more of it in memory.
	"slice":     withinList,
	"mustSlice": withinList,
	// The list that it gets stays as it is.
	"sortAlpha": func(list any) []string {
		if texts, isTexts := list.([]string); isTexts {
			list = slices.Clone(texts)
		}
		return sortAlpha(list)
	},
}
