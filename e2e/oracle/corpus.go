package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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

// repetitions show whether an answer changes by itself. Go starts each loop over a small map at
// one of eight places, so twenty loops over two entries are the same in one of a million runs.
const (
	repetitions = 20
	patience    = time.Second
)

// writeGolden answers all cases of a folder: golden/FAMILY.jsonl for FAMILY.yaml. The id of a case
// is the family and its place in the file.
func writeGolden(folder string) error {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(folder, "golden"), 0o755); err != nil {
		return err
	}
	var wrong []string
	for _, file := range files {
		family := strings.TrimSuffix(filepath.Base(file), ".yaml")
		answers, problems, err := answersOf(folder, file, family)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		wrong = append(wrong, problems...)
		target := filepath.Join(folder, "golden", family+".jsonl")
		if err := os.WriteFile(target, answers, 0o644); err != nil {
			return err
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("these cases need another shape, or none:\n%s", strings.Join(wrong, "\n"))
	}
	return nil
}

func answersOf(folder, file, family string) ([]byte, []string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	var cases []testCase
	if err := yaml.UnmarshalStrict(content, &cases); err != nil {
		return nil, nil, err
	}
	answers := &bytes.Buffer{}
	output := json.NewEncoder(answers)
	output.SetEscapeHTML(false)
	var wrong []string
	for number, one := range cases {
		id := fmt.Sprintf("%s/%03d", family, number+1)
		text, data, err := one.read(folder)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", id, err)
		}
		known, problem := one.goldenOf(id, text, data)
		if problem != "" {
			wrong = append(wrong, fmt.Sprintf("%s: %s: %.200q", id, problem, text))
		}
		if err := output.Encode(known); err != nil {
			return nil, nil, err
		}
	}
	return answers.Bytes(), wrong, nil
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

// goldenOf also says what is wrong with the case, if anything is.
func (c testCase) goldenOf(id string, text []byte, data map[string]string) (golden, string) {
	first := render(text, data, corpusLimit)
	known, problem := golden{ID: id, Error: first.stage, Message: first.message, Shape: c.Shape}, ""
	var shape *regexp.Regexp
	if c.Shape != "" {
		var err error
		if shape, err = regexp.Compile(`\A(?s:` + c.Shape + `)\z`); err != nil {
			return known, err.Error()
		}
	}
	isFixed := true
	start := time.Now()
	for range repetitions {
		again := render(text, maps.Clone(data), corpusLimit)
		isFixed = isFixed && first.equals(again)
		switch {
		case shape != nil && again.stage != "":
			problem = "it fails: " + again.message
		case shape != nil && !shape.Match(again.output):
			problem = fmt.Sprintf("an output has another shape: %.300q", again.output)
		case shape == nil && !isFixed:
			problem = fmt.Sprintf("the answer changes: %.100q %.100q", first, again)
		}
		if problem != "" {
			return known, problem
		}
		// Making a key or hashing a password is slow enough to be done a few times only.
		if time.Since(start) > patience {
			break
		}
	}
	switch {
	case shape != nil || first.stage != "":
	case utf8.Valid(first.output):
		readable := string(first.output)
		known.Output = &readable
	default:
		known.OutputBase64 = first.output
	}
	return known, ""
}

func (r result) equals(other result) bool {
	return slices.Equal(r.output, other.output) && r.stage == other.stage && r.message == other.message
}
