package libtf

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

var machines = map[string]elf.Machine{
	"386": elf.EM_386, "amd64": elf.EM_X86_64, "arm": elf.EM_ARM, "arm64": elf.EM_AARCH64,
	"loong64": elf.EM_LOONGARCH, "ppc64le": elf.EM_PPC64, "riscv64": elf.EM_RISCV, "s390x": elf.EM_S390,
}

// checkLibrary refuses what dlopen would not survive: it maps a file as long
// as its headers say, so a file cut short ends the process with SIGBUS. The
// libraries it needs from its own directory are checked as well.
func checkLibrary(file string) error {
	if runtime.GOOS != "linux" {
		return nil // the others check by themselves
	}
	return checkELF(file, map[string]bool{})
}

func checkELF(file string, seen map[string]bool) error {
	seen[file] = true
	f, err := os.Open(file)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file", ErrFormat, file)
	}
	magic := make([]byte, len(elf.ELFMAG))
	switch n, err := io.ReadFull(f, magic); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s has only %d bytes", ErrTruncated, file, n)
	case err != nil:
		return fmt.Errorf("%w: %w", ErrFormat, err)
	case string(magic) != elf.ELFMAG:
		return fmt.Errorf("%w: %s is no ELF file", ErrFormat, file)
	}
	library, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%w: %s, %d bytes: %w", ErrTruncated, file, info.Size(), err)
	}
	if library.Type != elf.ET_DYN || library.Machine != machines[runtime.GOARCH] {
		return fmt.Errorf("%w: %s is %v for %v", ErrFormat, file, library.Type, library.Machine)
	}
	end := uint64(0)
	for _, p := range library.Progs {
		if p.Off+p.Filesz < p.Off {
			return fmt.Errorf("%w: %s: a program header overflows", ErrFormat, file)
		}
		end = max(end, p.Off+p.Filesz)
	}
	for _, s := range library.Sections {
		if s.Type == elf.SHT_NOBITS {
			continue
		}
		if s.Offset+s.FileSize < s.Offset {
			return fmt.Errorf("%w: %s: section %s overflows", ErrFormat, file, s.Name)
		}
		end = max(end, s.Offset+s.FileSize)
	}
	if end > uint64(info.Size()) {
		return fmt.Errorf("%w: %s has %d bytes of %d", ErrTruncated, file, info.Size(), end)
	}
	needed, err := neededLibraries(library)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFormat, file, err)
	}
	for _, name := range needed {
		sibling := filepath.Join(filepath.Dir(file), filepath.Base(name))
		if seen[sibling] {
			continue
		}
		if _, err := os.Stat(sibling); err != nil {
			continue
		}
		if err := checkELF(sibling, seen); err != nil {
			return err
		}
	}
	return nil
}

// neededLibraries returns the DT_NEEDED entries. Unlike ImportedLibraries it does
// not read the whole string table, which in libtensorflow is 200 MB of symbols.
func neededLibraries(library *elf.File) ([]string, error) {
	dynamic := library.SectionByType(elf.SHT_DYNAMIC)
	if dynamic == nil {
		return nil, nil
	}
	const most = 1 << 20
	if int(dynamic.Link) >= len(library.Sections) || dynamic.Size > most {
		return nil, fmt.Errorf("its dynamic section is damaged")
	}
	entries, err := dynamic.Data()
	if err != nil {
		return nil, err
	}
	table := library.Sections[dynamic.Link]
	word := 8
	if library.Class == elf.ELFCLASS32 {
		word = 4
	}
	number := func(b []byte) uint64 {
		if word == 4 {
			return uint64(library.ByteOrder.Uint32(b))
		}
		return library.ByteOrder.Uint64(b)
	}
	var names []string
	for ; len(entries) >= 2*word; entries = entries[2*word:] {
		if elf.DynTag(number(entries)) != elf.DT_NEEDED {
			continue
		}
		name := make([]byte, 4096)
		n, err := table.ReadAt(name, int64(number(entries[word:])))
		end := bytes.IndexByte(name[:n], 0)
		if end < 0 {
			return nil, fmt.Errorf("the name of a needed library cannot be read: %w", errors.Join(err, io.ErrUnexpectedEOF))
		}
		names = append(names, string(name[:end]))
	}
	return names, nil
}
