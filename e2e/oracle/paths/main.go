// Command paths writes what gjson itself answers to many pairs of a document and a path:
//
//	go run ./paths ../../tests/json-path/corpus.json
//
// With -count, -seed and -only it generates others, for a longer comparison.
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
	if err := write(flag.Arg(0), cases.documents); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Printf("%d cases\n", cases.cases)
}

// write puts each document on a line of its own, so that a change of the corpus can be read.
func write(name string, documents []*document) error {
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
			return err
		}
		text.Write(bytes.TrimRight(line.Bytes(), "\n"))
	}
	text.WriteString("\n]\n")
	return os.WriteFile(name, text.Bytes(), 0o644)
}
