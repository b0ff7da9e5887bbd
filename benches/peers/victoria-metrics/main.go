// Parses line protocol with VictoriaMetrics' parser, in blocks of whole lines as its server does: FILE ROUNDS.
// Prints the best and the median CPU-bound time of a round in seconds, and the rows of one.
package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"time"

	"github.com/VictoriaMetrics/VictoriaMetrics/lib/protoparser/influx"
)

func main() {
	runtime.GOMAXPROCS(1)
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	rounds, _ := strconv.Atoi(os.Args[2])
	var blocks []string
	for len(data) > 0 {
		n := 64 << 10
		if n >= len(data) {
			n = len(data)
		} else {
			n = bytes.LastIndexByte(data[:n], '\n') + 1
		}
		blocks = append(blocks, string(data[:n]))
		data = data[n:]
	}
	var rows influx.Rows
	var times []float64
	count := 0
	for i := 0; i < rounds; i++ {
		count = 0
		start := time.Now()
		for _, block := range blocks {
			rows.Unmarshal(block)
			count += len(rows.Rows)
		}
		times = append(times, time.Since(start).Seconds())
	}
	sort.Float64s(times)
	fmt.Printf("%f %f %d\n", times[0], times[len(times)/2], count)
}
