// Command health tells how GitOps tools read objects. It takes JSON objects on standard input, one
// after the other, and prints a line of JSON for each: the verdict of kstatus, which Flux waits by,
// and that of the check which Argo CD brings for the kind, if it brings one.
//
// Nothing is judged here: kstatus is the library that Flux uses, and the check is the Lua script
// that Argo CD embeds.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/argoproj/argo-cd/v3/resource_customizations"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	luajson "layeh.com/gopher-json"
)

type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type verdicts struct {
	Kstatus verdict  `json:"kstatus"`
	ArgoCD  *verdict `json:"argoCd"`
}

func main() {
	if err := judgeAll(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func judgeAll(objects io.Reader, results io.Writer) error {
	input, output := json.NewDecoder(objects), json.NewEncoder(results)
	for {
		var raw json.RawMessage
		if err := input.Decode(&raw); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an object: %w", err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("read an object: %w", err)
		}
		judged, err := judge(object, raw)
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := output.Encode(judged); err != nil {
			return err
		}
	}
}

func judge(object *unstructured.Unstructured, raw []byte) (*verdicts, error) {
	flux, err := status.Compute(object)
	if err != nil {
		return nil, fmt.Errorf("kstatus: %w", err)
	}
	argo, err := argoCD(object.GroupVersionKind().GroupKind(), raw)
	if err != nil {
		return nil, fmt.Errorf("Argo CD's check: %w", err)
	}
	return &verdicts{Kstatus: verdict{flux.Status.String(), flux.Message}, ArgoCD: argo}, nil
}

// argoCD runs the script that Argo CD would run for an object of this kind, on the same
// interpreter; nil when it has none.
func argoCD(kind schema.GroupKind, raw []byte) (*verdict, error) {
	script, err := resource_customizations.Embedded.ReadFile(path.Join(kind.Group, kind.Kind, "health.lua"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	state := newState()
	defer state.Close()
	object, err := luajson.Decode(state, raw)
	if err != nil {
		return nil, err
	}
	state.SetGlobal("obj", object)
	if err := state.DoString(string(script)); err != nil {
		return nil, err
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return nil, fmt.Errorf("it returned a %s, not a table", state.Get(-1).Type())
	}
	return &verdict{text(result, "status"), text(result, "message")}, nil
}

// newState is an interpreter with the libraries that can reach nothing outside of it.
func newState() *lua.LState {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	for name, open := range map[string]lua.LGFunction{
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
		lua.MathLibName:   lua.OpenMath,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	return state
}

// text is a field of a result; empty when the script left it out.
func text(result *lua.LTable, field string) string {
	return lua.LVAsString(result.RawGetString(field))
}
