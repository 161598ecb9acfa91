package runtimeinstall

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// strip takes the static symbol table, which nothing needs at run time, out of a 64-bit
// little-endian shared library, in place: a fifth of libtensorflow's size. It leaves alone
// what has no such table, or has anything but its names behind it. What the program
// headers describe stays byte for byte.
func strip(name string) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = stripFile(file)
	return errors.Join(err, file.Close())
}

func stripFile(file *os.File) error {
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := file.ReadAt(magic, 0); err != nil || string(magic) != elf.ELFMAG {
		return nil // no ELF file, as on macOS
	}
	library, err := elf.NewFile(file)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if library.Class != elf.ELFCLASS64 || library.Data != elf.ELFDATA2LSB {
		return nil
	}
	var header elf.Header64
	if err := readAt(file, 0, &header); err != nil {
		return err
	}
	sections := make([]elf.Section64, len(library.Sections))
	if err := readAt(file, int64(header.Shoff), sections); err != nil {
		return err
	}
	end := uint64(0) // of what stays
	for _, p := range library.Progs {
		end = max(end, p.Off+p.Filesz)
	}
	var kept []elf.Section64
	var names []byte
	var nameTable int
	for i, s := range sections {
		switch {
		case elf.SectionType(s.Type) == elf.SHT_SYMTAB, i > 0 && i == int(symbolNames(sections)):
			continue
		case i == int(header.Shstrndx):
			if names, err = library.Sections[i].Data(); err != nil {
				return fmt.Errorf("%w: %w", ErrArchive, err)
			}
			nameTable = len(kept)
		case len(kept) != i:
			return nil // a section behind the table would get another number
		case elf.SectionType(s.Type) != elf.SHT_NOBITS:
			end = max(end, s.Off+s.Size)
		}
		kept = append(kept, s)
	}
	if len(kept) == len(sections) || names == nil {
		return nil
	}
	kept[nameTable].Off = end
	header.Shoff = (end + uint64(len(names)) + 7) &^ 7
	header.Shnum, header.Shstrndx = uint16(len(kept)), uint16(nameTable)
	size := int64(header.Shoff) + int64(len(kept)*binary.Size(elf.Section64{}))
	if info, err := file.Stat(); err != nil || info.Size() <= size {
		return err
	}
	_, err = file.WriteAt(append(names, make([]byte, 8)...), int64(end))
	return errors.Join(err, writeAt(file, int64(header.Shoff), kept), writeAt(file, 0, header), file.Truncate(size),
		file.Sync())
}

// symbolNames returns the number of the section that holds the names of the static symbols, 0 if there are none.
func symbolNames(sections []elf.Section64) uint32 {
	for _, s := range sections {
		if elf.SectionType(s.Type) == elf.SHT_SYMTAB {
			return s.Link
		}
	}
	return 0
}

func readAt(file *os.File, offset int64, to any) error {
	data := make([]byte, binary.Size(to))
	if _, err := file.ReadAt(data, offset); err != nil {
		return fmt.Errorf("%w: %w", ErrArchive, err)
	}
	_, err := binary.Decode(data, binary.LittleEndian, to)
	return err
}

func writeAt(file *os.File, offset int64, value any) error {
	data, err := binary.Append(nil, binary.LittleEndian, value)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, offset)
	return err
}
