package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// measured is what a render took on average, and its output.
type measured struct {
	Nanoseconds int64  `json:"nanoseconds"`
	Output      []byte `json:"output"`
}

// measure reads one question, parses its template once and renders it so many times.
func measure(input io.Reader, output io.Writer, times int) error {
	var asked question
	if err := json.NewDecoder(input).Decode(&asked); err != nil {
		return fmt.Errorf("read a question: %w", err)
	}
	parsed, err := parse(asked.Template)
	if err != nil {
		return err
	}
	values := texts(asked.Data)
	rendered := &stoppable{}
	start := time.Now()
	for range times {
		// Each gets a new buffer, as in the operator.
		rendered = &stoppable{}
		if err := parsed.Execute(rendered, values); err != nil {
			return err
		}
	}
	taken := time.Since(start).Nanoseconds() / int64(times)
	return json.NewEncoder(output).Encode(measured{taken, rendered.bytes()})
}
