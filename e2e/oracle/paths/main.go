// Command paths writes what gjson itself answers to many pairs of a document and a path:
//
//	go run ./paths ../../tests/json-path/corpus.json
//
// With -check it compares the file instead. With -count, -seed and -only it generates others, for a
// longer comparison.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand"
	"os"

	"github.com/tidwall/gjson"
)

// document has the answer to each path: raw JSON, or nothing for a path that selects nothing.
type document struct {
	JSON    string             `json:"json"`
	Answers map[string]*string `json:"answers"`
}

type corpus struct {
	documents []*document
	byJSON    map[string]*document
	cases     int
}

// add tells whether the case is new.
func (c *corpus) add(json, path string) bool {
	of := c.byJSON[json]
	if of == nil {
		of = &document{json, map[string]*string{}}
		c.byJSON[json] = of
		c.documents = append(c.documents, of)
	}
	if _, known := of.Answers[path]; known {
		return false
	}
	of.Answers[path] = nil
	if result := gjson.Get(json, path); result.Exists() {
		of.Answers[path] = &result.Raw
	}
	c.cases++
	return true
}

func main() {
	count := flag.Int("count", 300, "how many cases to generate")
	seed := flag.Int64("seed", 20240229, "the seed of the generated cases")
	only := flag.Bool("only", false, "leave out the chosen cases")
	check := flag.Bool("check", false, "write nothing: fail if the file has other answers")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "name the file to write")
		os.Exit(2)
	}

	cases := corpus{byJSON: map[string]*document{}}
	if !*only {
		for _, group := range chosen {
			for _, path := range group.paths {
				cases.add(group.json, path)
			}
		}
	}
	generator := generator{rand.New(rand.NewSource(*seed))}
	for generated := 0; generated < *count; {
		document, prefix := generator.document()
		for range 4 {
			if generated < *count && cases.add(document, prefix+generator.path(document)) {
				generated++
			}
		}
	}
	text, err := written(cases.documents)
	switch {
	case err != nil:
	case *check:
		err = compare(flag.Arg(0), text)
	default:
		err = os.WriteFile(flag.Arg(0), text, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "paths:", err)
		os.Exit(1)
	}
}

func compare(name string, text []byte) error {
	kept, err := os.ReadFile(name)
	if err == nil && !bytes.Equal(kept, text) {
		return fmt.Errorf("%s differs from what gjson answers; run `make generate`", name)
	}
	return err
}

// written puts each document on a line of its own, so that a change of the corpus can be read.
func written(documents []*document) ([]byte, error) {
	var text bytes.Buffer
	text.WriteString("[")
	for position, each := range documents {
		if position > 0 {
			text.WriteString(",")
		}
		text.WriteString("\n")
		var line bytes.Buffer
		encoder := json.NewEncoder(&line)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(each); err != nil {
			return nil, err
		}
		text.Write(bytes.TrimRight(line.Bytes(), "\n"))
	}
	text.WriteString("\n]\n")
	return text.Bytes(), nil
}
