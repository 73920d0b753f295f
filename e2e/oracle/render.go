package main

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"text/template"
	"time"
)

// How long a template may run. A random one that takes long is left out. In the corpus one makes an
// RSA key, which takes as long as chance has it.
const (
	limit          = 5 * time.Second
	generatorLimit = time.Second
	corpusLimit    = time.Minute
)

// result is an output, or the stage ("parse" or "exec") that failed and why.
type result struct {
	output         []byte
	stage, message string
}

// prepared is a parsed template, or why there is none.
type prepared struct {
	template *template.Template
	failure  string
}

func prepare(text []byte) (ready prepared) {
	defer func() {
		if cause := recover(); cause != nil {
			ready = prepared{failure: fmt.Sprint("panic: ", cause)}
		}
	}()
	parsed, err := parse(text)
	if err != nil {
		return prepared{failure: err.Error()}
	}
	return prepared{template: parsed}
}

// render executes a template as the operator does. It comes back after the limit in any case. Go
// cannot stop a goroutine: one that still runs then is stopped by its next write, and one that
// writes nothing goes on until this process ends.
func (p prepared) render(data map[string]string, limit time.Duration) result {
	if p.template == nil {
		return result{stage: "parse", message: p.failure}
	}
	output := &stoppable{}
	finished := make(chan result, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				finished <- result{stage: "exec", message: fmt.Sprint("panic: ", cause)}
			}
		}()
		if err := p.template.Execute(output, data); err != nil {
			finished <- result{stage: "exec", message: err.Error()}
			return
		}
		finished <- result{output: output.bytes()}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case result := <-finished:
		return result
	case <-timer.C:
		output.stop()
		return result{stage: "exec", message: fmt.Sprintf("it was not done after %s", limit)}
	}
}

// parse is the operator's way to parse. There a template has the name of its key; here all have
// the same name, which messages contain.
func parse(text []byte) (*template.Template, error) {
	return template.New("template").Option("missingkey=error").Funcs(functions()).Parse(string(text))
}

var errStopped = errors.New("it ran too long")

// stoppable collects an output until somebody stops it.
type stoppable struct {
	mutex   sync.Mutex
	buffer  bytes.Buffer
	stopped bool
}

func (s *stoppable) Write(part []byte) (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.stopped {
		return 0, errStopped
	}
	return s.buffer.Write(part)
}

func (s *stoppable) stop() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.stopped = true
}

// bytes is what was written; never nil, so that JSON has an empty text for it.
func (s *stoppable) bytes() []byte {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]byte{}, s.buffer.Bytes()...)
}
