//go:build ignore

// Sets the initial memory of a module that Go's linker made, which is just enough for a small program.
//
// Go assumes that memory which it adds follows what it has. The adapter from WASI 0.1 to 0.2 puts its own data there,
// so Go must not have to add any.
package main

import (
	"bytes"
	"encoding/binary"
	"log"
	"os"
)

const (
	memorySection = 5
	pages         = 48 << 20 / 65536
)

func main() {
	module, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	// One memory, with a minimum and no maximum.
	section := binary.AppendUvarint([]byte{1, 0}, pages)
	for at := 8; at < len(module); {
		length, n := binary.Uvarint(module[at+1:])
		end := at + 1 + n + int(length)
		if module[at] == memorySection {
			// The number of memories, flags, and the minimum.
			old, _ := binary.Uvarint(module[at+1+n+2:])
			if module[at+1+n+1] != 0 || old > pages {
				log.Fatalf("the memory has a maximum, or starts with more than %d pages", pages)
			}
			header := binary.AppendUvarint([]byte{memorySection}, uint64(len(section)))
			module = bytes.Join([][]byte{module[:at], header, section, module[end:]}, nil)
			if err := os.WriteFile(os.Args[1], module, 0o644); err != nil {
				log.Fatal(err)
			}
			return
		}
		at = end
	}
	log.Fatal("no memory")
}
