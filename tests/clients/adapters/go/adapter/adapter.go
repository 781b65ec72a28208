// SPDX-License-Identifier: Apache-2.0

// Package adapter is what both Go adapters share; see tests/lib/matrix.py for what an adapter does.
package adapter

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"sync"
	"time"
)

// Limit is how long anything may take.
const Limit = 60 * time.Second

// Options of every verb.
type Options struct {
	Brokers     string              `json:"brokers"`
	Topic       string              `json:"topic"`
	Partitions  int                 `json:"partitions"`
	Count       int                 `json:"count"`
	Prefix      string              `json:"prefix"`
	Codec       string              `json:"codec"`
	TimestampMs *int64              `json:"timestamp_ms"`
	Group       string              `json:"group"`
	Strategy    string              `json:"strategy"`
	Instance    string              `json:"instance"`
	Steps       [][]json.RawMessage `json:"steps"`
}

var out sync.Mutex

// Say writes one line of JSON.
func Say(name string, value any) {
	SayAll(map[string]any{name: value})
}

// SayAll writes one line of JSON.
func SayAll(what map[string]any) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	out.Lock()
	defer out.Unlock()
	os.Stdout.Write(append(text, '\n'))
}

// Record says a record.
func Record(partition int32, offset int64, key, value []byte) {
	Say("record", []any{partition, offset, string(key), string(value)})
}

// Owned are the partitions of a member.
type Owned struct {
	lock sync.Mutex
	all  map[int32]bool
}

// Change says what is owned after some came, or went.
func (o *Owned) Change(partitions []int32, come bool) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if o.all == nil {
		o.all = map[int32]bool{}
	}
	for _, p := range partitions {
		if come {
			o.all[p] = true
		} else {
			delete(o.all, p)
		}
	}
	list := []int{}
	for p := range o.all {
		list = append(list, int(p))
	}
	sort.Ints(list)
	Say("assigned", list)
}

// WaitForEndOfInput returns when nobody wants this process any more.
func WaitForEndOfInput() {
	io.Copy(io.Discard, os.Stdin)
}

// Step is one of the steps of the verb admin.
type Step struct {
	Name string
	args []json.RawMessage
}

func (s Step) arg(i int, to any) {
	if err := json.Unmarshal(s.args[i], to); err != nil {
		panic(err)
	}
}

// Text is the argument at i.
func (s Step) Text(i int) (text string) {
	s.arg(i, &text)
	return
}

// Int is the argument at i.
func (s Step) Int(i int) (n int64) {
	s.arg(i, &n)
	return
}

// Config is the argument at i.
func (s Step) Config(i int) map[string]*string {
	config := map[string]*string{}
	s.arg(i, &config)
	return config
}

// Admin says the result or the error of each step.
func Admin(o Options, do func(Step) (any, error)) error {
	for _, raw := range o.Steps {
		s := Step{args: raw[1:]}
		if err := json.Unmarshal(raw[0], &s.Name); err != nil {
			return err
		}
		if result, err := do(s); err != nil {
			Say("error", err.Error())
		} else {
			Say("result", result)
		}
	}
	return nil
}

// Main runs the verb of the command line.
func Main(verbs map[string]func(Options) error) {
	var o Options
	err := json.Unmarshal([]byte(os.Args[2]), &o)
	if err == nil {
		err = verbs[os.Args[1]](o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
