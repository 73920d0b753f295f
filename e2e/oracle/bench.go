package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

//go:embed bench/my.cnf.tmpl
var benchTemplate []byte

//go:embed bench/values.json
var benchValues []byte

// measure parses once and prints how long a render takes on average.
func measure(output io.Writer, times int) error {
	parsed, err := parse(benchTemplate)
	if err != nil {
		return err
	}
	var values map[string]string
	if err := json.Unmarshal(benchValues, &values); err != nil {
		return err
	}
	start := time.Now()
	for range times {
		// Each gets a new buffer, as in the operator.
		if err := parsed.Execute(&stoppable{}, values); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(output, "%d\n", time.Since(start).Nanoseconds()/int64(times))
	return err
}
