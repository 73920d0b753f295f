package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// testCase is an entry of a file of the corpus. Bytes that are not UTF-8 come as base64. Paths are
// relative to the corpus.
type testCase struct {
	Template       string            `json:"template,omitempty"`
	TemplateBase64 []byte            `json:"template_base64,omitempty"`
	Data           map[string]string `json:"data,omitempty"`
	DataBase64     map[string][]byte `json:"data_base64,omitempty"`
	DataFiles      map[string]string `json:"data_files,omitempty"`
	Shape          string            `json:"shape,omitempty"`
}

// golden is an answer as the corpus keeps it: readable wherever it is text.
type golden struct {
	ID           string  `json:"id"`
	Output       *string `json:"output,omitempty"`
	OutputBase64 []byte  `json:"output_base64,omitempty"`
	Shape        string  `json:"shape,omitempty"`
	Error        string  `json:"error,omitempty"`
	Message      string  `json:"message,omitempty"`
}

// repetitions show whether an answer changes by itself. Go starts each loop over a small map at one
// of eight places, of which all but one may give two entries in the same order. So a hundred loops
// over them are the same in two of a million runs.
const (
	repetitions = 100
	patience    = time.Second
)

// The random cases that the corpus keeps.
const (
	keptCases = 300
	keptSeed  = 1
)

// made are the files of the corpus that are made: random cases, and the names of all functions.
func made() (map[string][]byte, error) {
	cases := &bytes.Buffer{}
	if err := printRandomCases(cases, keptCases, keptSeed, true); err != nil {
		return nil, err
	}
	names := strings.Join(functionNames(), "\n") + "\n"
	return map[string][]byte{"generated.yaml": cases.Bytes(), "functions.txt": []byte(names)}, nil
}

// writeCorpus writes what is made, and answers all cases of a folder: golden/FAMILY.jsonl for
// FAMILY.yaml. The id of a case is the family and its place in the file.
func writeCorpus(folder string) error {
	files, err := made()
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(folder, "golden"), 0o755); err != nil {
		return err
	}
	return forEachFamily(folder, func(target string, answers []byte) error {
		return os.WriteFile(target, answers, 0o644)
	})
}

// checkCorpus makes everything again, and fails if something is another than what is kept.
func checkCorpus(folder string) error {
	files, err := made()
	if err != nil {
		return err
	}
	var differences []string
	compare := func(file string, content []byte) error {
		found, err := differencesFrom(file, content)
		differences = append(differences, found...)
		return err
	}
	for name, content := range files {
		if err := compare(filepath.Join(folder, name), content); err != nil {
			return err
		}
	}
	if err := forEachFamily(folder, compare); err != nil {
		return err
	}
	return drift(differences)
}

// forEachFamily answers the cases of each file, and gives the answers and where they belong to next.
func forEachFamily(folder string, next func(target string, answers []byte) error) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return err
	}
	var wrong []string
	for _, file := range files {
		family := strings.TrimSuffix(filepath.Base(file), ".yaml")
		target := filepath.Join(folder, "golden", family+".jsonl")
		answers, problems, err := answersOf(folder, file, family, linesOf(target))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		wrong = append(wrong, problems...)
		if err := next(target, answers); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("these cases need another shape, or none:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

// linesOf is empty for a file that is not there.
func linesOf(file string) map[string]bool {
	content, _ := os.ReadFile(file)
	lines := map[string]bool{}
	for line := range strings.Lines(string(content)) {
		lines[line] = true
	}
	return lines
}

// answersOf answers the cases of a file, on all processors: most of the time is for a few that make
// keys or hash passwords.
func answersOf(folder, file, family string, kept map[string]bool) ([]byte, []string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var cases []testCase
	if err := yaml.UnmarshalStrict(content, &cases); err != nil {
		return nil, nil, err
	}
	lines, problems, failures := make([]string, len(cases)), make([]string, len(cases)), make([]error, len(cases))
	turns := make(chan struct{}, runtime.NumCPU())
	var running sync.WaitGroup
	for number, one := range cases {
		turns <- struct{}{}
		running.Go(func() {
			defer func() { <-turns }()
			id := fmt.Sprintf("%s/%03d", family, number+1)
			lines[number], problems[number], failures[number] = one.answer(folder, id, kept)
		})
	}
	running.Wait()
	problems = slices.DeleteFunc(problems, func(problem string) bool { return problem == "" })
	return []byte(strings.Join(lines, "")), problems, errors.Join(failures...)
}

// answer is the line of golden, and what is wrong with the case, if anything is. That an answer does
// not change by itself is known of one that is kept.
func (c testCase) answer(folder, id string, kept map[string]bool) (line, problem string, err error) {
	text, data, err := c.read(folder)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", id, err)
	}
	parsed := prepare(text)
	first := parsed.render(maps.Clone(data), corpusLimit)
	encoded := &bytes.Buffer{}
	output := json.NewEncoder(encoded)
	output.SetEscapeHTML(false)
	if err := output.Encode(c.goldenOf(id, first)); err != nil {
		return "", "", err
	}
	line = encoded.String()
	repeat := repetitions
	if kept[line] {
		repeat = 0
	}
	if problem := c.problemOf(parsed, data, first, repeat); problem != "" {
		return line, fmt.Sprintf("%s: %s: %.200q", id, problem, text), nil
	}
	return line, "", nil
}

func (c testCase) read(folder string) ([]byte, map[string]string, error) {
	text := []byte(c.Template)
	if c.TemplateBase64 != nil {
		text = c.TemplateBase64
	}
	data := texts(c.DataBase64)
	maps.Copy(data, c.Data)
	for key, path := range c.DataFiles {
		content, err := os.ReadFile(filepath.Join(folder, path))
		if err != nil {
			return nil, nil, err
		}
		data[key] = string(content)
	}
	return text, data, nil
}

func (c testCase) goldenOf(id string, first result) golden {
	known := golden{ID: id, Error: first.stage, Message: first.message, Shape: c.Shape}
	switch {
	case c.Shape != "" || first.stage != "":
	case utf8.Valid(first.output):
		readable := string(first.output)
		known.Output = &readable
	default:
		known.OutputBase64 = first.output
	}
	return known
}

// problemOf says that answers change though the case has no shape, or that they do not have it.
func (c testCase) problemOf(parsed prepared, data map[string]string, first result, repeat int) string {
	isWrong := func(again result) string {
		if !first.equals(again) {
			return fmt.Sprintf("the answer changes: %.100q %.100q", first, again)
		}
		return ""
	}
	if c.Shape != "" {
		shape, err := regexp.Compile(`\A(?s:` + c.Shape + `)\z`)
		if err != nil {
			return err.Error()
		}
		isWrong = func(again result) string { return outOfShape(shape, again) }
	}
	start := time.Now()
	again := first
	for {
		if problem := isWrong(again); problem != "" {
			return problem
		}
		// Making a key or hashing a password is slow enough to be done a few times only.
		if repeat == 0 || time.Since(start) > patience {
			return ""
		}
		repeat--
		again = parsed.render(maps.Clone(data), corpusLimit)
	}
}

func outOfShape(shape *regexp.Regexp, found result) string {
	switch {
	case found.stage != "":
		return "it fails: " + found.message
	case !shape.Match(found.output):
		return fmt.Sprintf("an output has another shape: %.300q", found.output)
	}
	return ""
}

func (r result) equals(other result) bool {
	return slices.Equal(r.output, other.output) && r.stage == other.stage && r.message == other.message
}
