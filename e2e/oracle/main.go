// Command oracle renders templates as External Secrets Operator does: with Go's own text/template,
// the sprig functions, and the operator's own functions. Tests of the template crate compare with
// it. Nothing is decided here that a library can decide.
//
// Without flags it reads JSON objects on standard input and prints a line of JSON for each:
//
//	{"id": 1, "template": BASE64, "data": {"key": BASE64}}
//	{"id": 1, "output": BASE64} or {"id": 1, "error": "parse" or "exec", "message": TEXT}
//
// The flags say what it does instead.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"time"
	// Zones must not depend on the machine.
	_ "time/tzdata"
)

func main() {
	properties := flag.Bool("properties", false, "look up gjson paths instead: {id, json, path} on each line")
	corpus := flag.String("corpus", "", "`folder` of YAML cases: write its generated.yaml, and the answers to all cases to its golden/")
	check := flag.Bool("check", false, "write nothing: fail if what is kept in the corpus is another")
	fixtures := flag.String("fixtures", "", "new `folder` for fresh keys, certificates and stores")
	generate := flag.Int("generate", 0, "print this `number` of random cases as lines of JSON")
	seed := flag.Uint64("seed", 1, "of the random cases")
	asYAML := flag.Bool("yaml", false, "print random cases as a file of the corpus")
	asWaypost := flag.Bool("as-waypost", false, "let functions differ in what Waypost does differently on purpose")
	bench := flag.Int("bench", 0, "read one question, render it this `number` of times and print ns per render")
	flag.Parse()
	// The operator's image has no time zone. A machine that has one must not change an answer.
	time.Local = time.UTC

	if *asWaypost {
		maps.Copy(own, onPurpose)
	}
	go guardMemory()
	var err error
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("it takes no arguments, only flags: see -help")
	case *properties:
		err = answerLines(os.Stdin, os.Stdout, property)
	case *corpus != "" && *check:
		err = checkCorpus(*corpus)
	case *corpus != "":
		err = writeCorpus(*corpus)
	case *fixtures != "":
		err = writeFixtures(*fixtures)
	case *generate > 0:
		err = printRandomCases(os.Stdout, *generate, *seed, *asYAML)
	case *bench > 0:
		err = measure(os.Stdin, os.Stdout, *bench)
	default:
		err = answerLines(os.Stdin, os.Stdout, rendering)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

// memoryLimit is more than any template of a test needs.
const memoryLimit = 4 << 30

// guardMemory ends this process before a template that cannot be stopped takes all of the machine's
// memory.
func guardMemory() {
	for range time.Tick(100 * time.Millisecond) {
		var used runtime.MemStats
		runtime.ReadMemStats(&used)
		if used.HeapAlloc > memoryLimit {
			fmt.Fprintf(os.Stderr, "oracle: a template takes more than %d GiB\n", memoryLimit>>30)
			os.Exit(1)
		}
	}
}
