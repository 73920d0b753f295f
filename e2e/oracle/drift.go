package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// shown is how many differences are printed: the first ones say enough.
const shown = 10

// differencesFrom describes the lines in which a file differs from what was made.
func differencesFrom(file string, made []byte) ([]string, error) {
	kept, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var found []string
	old, fresh := bytes.Split(kept, []byte("\n")), bytes.Split(made, []byte("\n"))
	for number := range max(len(old), len(fresh)) {
		has, wants := lineOf(old, number), lineOf(fresh, number)
		if !bytes.Equal(has, wants) {
			found = append(found, fmt.Sprintf("%s:%d\n  has   %.300s\n  wants %.300s", file, number+1, has, wants))
		}
	}
	return found, nil
}

func lineOf(lines [][]byte, number int) []byte {
	if number < len(lines) {
		return lines[number]
	}
	return nil
}

// drift is the error that lists differences, if there are any.
func drift(differences []string) error {
	if len(differences) == 0 {
		return nil
	}
	first := differences[:min(shown, len(differences))]
	return fmt.Errorf("%d lines differ from what is kept; run `make generate`:\n%s",
		len(differences), strings.Join(first, "\n"))
}
