package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tidwall/gjson"
)

// question is a template with its data. JSON has byte strings as base64.
type question struct {
	ID       json.RawMessage   `json:"id"`
	Template []byte            `json:"template"`
	Data     map[string][]byte `json:"data"`
}

type answer struct {
	ID      json.RawMessage `json:"id"`
	Output  *[]byte         `json:"output,omitempty"`
	Error   string          `json:"error,omitempty"`
	Message string          `json:"message,omitempty"`
}

type propertyQuestion struct {
	ID   json.RawMessage `json:"id"`
	JSON []byte          `json:"json"`
	Path string          `json:"path"`
}

type propertyAnswer struct {
	ID     json.RawMessage `json:"id"`
	Output []byte          `json:"output"`
	Exists bool            `json:"exists"`
}

// answerLines answers each question before it reads the next, so that a test can hold a
// conversation.
func answerLines[Q, A any](questions io.Reader, answers io.Writer, reply func(Q) A) error {
	input, output := json.NewDecoder(questions), json.NewEncoder(answers)
	output.SetEscapeHTML(false)
	for {
		var asked Q
		if err := input.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		if err := output.Encode(reply(asked)); err != nil {
			return err
		}
	}
}

func rendering(asked question) answer {
	result := prepare(asked.Template).render(texts(asked.Data), limit)
	if result.stage != "" {
		return answer{ID: asked.ID, Error: result.stage, Message: result.message}
	}
	return answer{ID: asked.ID, Output: &result.output}
}

// texts are the data as a template sees them: bytes in Go strings, valid UTF-8 or not.
func texts(data map[string][]byte) map[string]string {
	result := make(map[string]string, len(data))
	for key, value := range data {
		result[key] = string(value)
	}
	return result
}

// property is what a path selects: a string without its quotes, everything else as it is written.
func property(asked propertyQuestion) propertyAnswer {
	found := gjson.GetBytes(asked.JSON, asked.Path)
	text := found.Raw
	if found.Type == gjson.String {
		text = found.String()
	}
	return propertyAnswer{ID: asked.ID, Output: []byte(text), Exists: found.Exists()}
}
