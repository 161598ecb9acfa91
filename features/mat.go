package features

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// MATLAB is a folder with one .mat file (level 5) per layer.
const MATLAB Format = "mat"

func init() {
	register(&formatSpec{format: MATLAB, title: "MATLAB", suffix: ".mat", folder: true, marker: matMarker,
		summary:       "a level 5 file for each layer, below 2 GiB",
		maxLayerBytes: matLimit, holdsColumn: matlabColumn, columnName: matlabName, maxColumnName: matNameLength,
		plan: planMAT, open: openMAT})
}

// tooLargeForMAT is the error of an array of so many bytes.
func tooLargeForMAT(name string, size int64) error {
	return fmt.Errorf("%w: %q has %d bytes; a .mat of level 5 holds 2 GiB; choose fewer timesteps or images, or another format",
		ErrTooLarge, name, size)
}

// planMAT writes a folder with one .mat per streamed array and layers.txt,
// their list. The rows are in the variable features, whose dimensions MATLAB
// sees reversed, because it stores the first one fastest: a layer [N, T, H, W,
// C] is features(c, w, h, t, n). permute(features, [5 4 3 2 1]) gives the
// order of the other formats. Beside it: layer, model, region, timesteps, ms,
// driven, every column (strings as an N×1 cell array), mask, constant and attribute,
// under names that MATLAB allows.
func planMAT(_ string, layout *Layout) (*plan, error) {
	p := &plan{}
	common, masks, maskNames, err := matCommon(layout)
	if err != nil {
		return nil, err
	}
	p.regions = make([]region, len(layout.Streamed))
	var copies []maskCopy
	var list bytes.Buffer
	seen := map[string]bool{}
	for i := range layout.Streamed {
		s := &layout.Streamed[i]
		if slices.Contains(masks, i) {
			continue
		}
		name := strings.ReplaceAll(s.Name, "/", "_") + ".mat"
		if seen[name] {
			return nil, fmt.Errorf("%w: two files would be called %q", ErrLayout, name)
		}
		seen[name] = true
		fmt.Fprintln(&list, name)

		head, err := matHead(s)
		if err != nil {
			return nil, err
		}
		class, kind, flags, err := matClass(s.DataType)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s.Name, err)
		}
		shape := append([]int{layout.Rows}, s.RowShape...)
		size, ok := byteSize(shape, s.DataType.Size())
		front := matFront("features", class, flags, shape)
		total := int64(len(front)) + 8 + (size+7)&^7
		if !ok || total > matLimit {
			return nil, tooLargeForMAT(s.Name, size)
		}
		var tail bytes.Buffer
		matTag(&tail, miMatrix, int(total))
		tail.Write(front)
		matTag(&tail, kind, int(size))

		file := plannedFile{name: name}
		file.sections = append(file.sections, bytesSection(0, head.Bytes()), bytesSection(int64(head.Len()), common.Bytes()))
		at := int64(head.Len() + common.Len())
		for k, m := range masks {
			mask := matMask(maskNames[k], layout.Rows)
			file.sections = append(file.sections, bytesSection(at, mask.before), bytesSection(at+mask.end-int64(len(mask.after)),
				mask.after))
			place := contiguousRegion(len(p.files), at+int64(len(mask.before)), &layout.Streamed[m])
			if len(p.files) == 0 { // its rows are written here and copied in the end
				p.regions[m] = place
			} else {
				copies = append(copies, maskCopy{m, place})
			}
			at += mask.end
		}
		file.sections = append(file.sections, bytesSection(at, tail.Bytes()))
		p.regions[i] = contiguousRegion(len(p.files), at+int64(tail.Len()), s)
		file.size = p.regions[i].offset + (size+7)&^7
		p.files = append(p.files, file)
	}
	if len(p.files) == 0 {
		return nil, fmt.Errorf("%w: a .mat needs at least one layer", ErrLayout)
	}
	p.final = func(w written) ([]patch, error) {
		var patches []patch
		for _, c := range copies {
			rows, err := w.rows(c.array)
			if err != nil {
				return nil, err
			}
			patches = append(patches, patch{file: c.file, offset: c.offset, bytes: rows})
		}
		return patches, nil
	}
	p.files = append(p.files, plannedFile{name: matMarker, size: int64(list.Len()),
		sections: []section{bytesSection(0, list.Bytes())}})
	return p, nil
}

// matCommon is what every file holds: columns, constants, attributes and the model; and
// the masks, whose values come later, with their names.
func matCommon(layout *Layout) (common *bytes.Buffer, masks []int, maskNames []string, err error) {
	common = &bytes.Buffer{}
	names := map[string]bool{"features": true, "layer": true, "model": true, "region": true,
		"timesteps": true, "ms": true, "driven": true, "dimensions": true}
	for i := range layout.Streamed {
		if l := layout.Streamed[i].Layer; l != nil {
			for _, c := range l.Selection.constants() {
				names["unit_"+c.Name] = true
			}
		}
	}
	unique := func(name string) string {
		name = matlabName(name)
		for candidate, n := name, 2; ; n++ {
			if !names[candidate] {
				names[candidate] = true
				return candidate
			}
			suffix := "_" + strconv.Itoa(n)
			candidate = name[:min(len(name), matNameLength-len(suffix))] + suffix
		}
	}
	for _, c := range layout.Columns {
		if err := matValues(common, unique(c.Name), []int{layout.Rows}, c.Values); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, c := range layout.Constants {
		if err := matValues(common, unique(c.Name), c.Shape, c.Values); err != nil {
			return nil, nil, nil, err
		}
	}
	for _, a := range layout.Attributes {
		matText(common, unique(a.Name), a.Value)
	}
	matText(common, "model", layout.Model)
	masks, err = layout.masks()
	if err != nil {
		return nil, nil, nil, err
	}
	maskNames = make([]string, len(masks))
	for i, m := range masks {
		maskNames[i] = unique(layout.Streamed[m].Name)
	}
	return common, masks, maskNames, nil
}

// matHead is what a layer's file starts with: the header, and what describes the layer.
func matHead(s *Streamed) (*bytes.Buffer, error) {
	var head bytes.Buffer
	text := make([]byte, 116)
	for j := copy(text, "MATLAB 5.0 MAT-file, written by tfconvrnn"); j < len(text); j++ {
		text[j] = ' '
	}
	head.Write(text)
	head.Write(make([]byte, 8))
	head.Write([]byte{0x00, 0x01, 'I', 'M'})
	matText(&head, "layer", s.Name)
	region := ""
	if s.Layer != nil {
		region = s.Layer.Region
		timesteps, ms := s.Layer.times()
		for _, v := range []Constant{{Name: "timesteps", Values: timesteps}, {Name: "ms", Values: ms},
			{Name: "driven", Values: s.Layer.Driven}} {
			if n, _ := valuesOf(v.Values); n == 0 {
				continue
			}
			if err := matValues(&head, v.Name, []int{len(timesteps)}, v.Values); err != nil {
				return nil, err
			}
		}
		for _, c := range s.Layer.Selection.constants() {
			if err := matValues(&head, "unit_"+c.Name, c.Shape, c.Values); err != nil {
				return nil, err
			}
		}
	}
	matText(&head, "region", region)
	return &head, nil
}

// maskCopy is a further place of a mask's rows.
type maskCopy struct {
	array int
	region
}

// matVariable is a variable whose values come later: what lies around them, and the
// bytes of all.
type matVariable struct {
	before, after []byte
	end           int64
}

// matMask is a column of logical values.
func matMask(name string, rows int) matVariable {
	front := matFront(name, mxUint8, mxLogicalFlag, []int{rows})
	size := (rows + 7) &^ 7
	var before bytes.Buffer
	matTag(&before, miMatrix, len(front)+8+size)
	before.Write(front)
	matTag(&before, miUint8, rows)
	return matVariable{before.Bytes(), make([]byte, size-rows), int64(before.Len() + size)}
}

// matlabName makes a name that a variable of a .mat can have of a name that is not
// empty: letters, digits and underscores, a letter first, at most 63.
func matlabName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, name)
	if c := name[0]; c == '_' || c >= '0' && c <= '9' {
		name = "x" + name
	}
	return name[:min(len(name), matNameLength)]
}

func matClass(d DataType) (class, kind, flags uint32, err error) {
	switch d {
	case Float32:
		return mxSingle, miSingle, 0, nil
	case Float64:
		return mxDouble, miDouble, 0, nil
	case Int32:
		return mxInt32, miInt32, 0, nil
	case Int64:
		return mxInt64, miInt64, 0, nil
	case Uint8:
		return mxUint8, miUint8, 0, nil
	case Bool:
		return mxUint8, miUint8, mxLogicalFlag, nil
	}
	return 0, 0, 0, fmt.Errorf("%w: MATLAB has no %v; choose float32 or another format", ErrDataType, d)
}

// matOwn are the variables that are no columns.
var matOwn = []string{"features", "layer", "model", "region", "timesteps", "ms", "driven", "valid"}

// openMAT reads the files that layers.txt lists; the columns are those of the first.
func openMAT(s *Store) error {
	list, err := readBounded(filepath.Join(s.path, matMarker), mostMetadata)
	if err != nil {
		return err
	}
	for i, name := range strings.Split(strings.TrimSuffix(string(list), "\n"), "\n") {
		if name == "" || strings.ContainsAny(name, "/\\\x00") || name == "." || name == ".." {
			return fmt.Errorf("%s: %w: a file called %q", matMarker, ErrFormat, name)
		}
		if err := s.openMATFile(name, i == 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *Store) openMATFile(name string, first bool) error {
	file, err := os.Open(filepath.Join(s.path, name))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	s.closers = append(s.closers, file)
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > math.MaxInt32*2 {
		return fmt.Errorf("%w: %d bytes are more than a .mat of level 5 holds", ErrFormat, info.Size())
	}
	f, err := readMATFile(file, info.Size())
	if err != nil {
		return err
	}
	data := f.variables["features"]
	if data == nil {
		return fmt.Errorf("%w: no variable features", ErrFormat)
	}
	shape := data.shape
	if s.rows < 0 {
		s.rows = shape[0]
	}
	if first {
		if err := s.matColumns(f); err != nil {
			return err
		}
	}
	d := matKinds[data.kind]
	if _, err := data.elements(max(d.Size(), 1)); err != nil {
		return err
	}
	l := LayerInfo{DataType: d}
	if l.Name, err = f.text("layer"); err != nil {
		return err
	}
	if f.variables["timesteps"] == nil {
		r := contiguousRegion(0, data.at, &Streamed{DataType: d, RowShape: slices.Clone(shape[1:])})
		return s.addCompanion(l.Name, d, shape, &fileRows{file: file, region: r, steps: 1})
	}
	if l.Region, err = f.text("region"); err != nil {
		return err
	}
	var numbers [3][]int64
	for i, name := range []string{"timesteps", "ms", "driven"} {
		if numbers[i], err = f.integers(name); err != nil {
			return err
		}
	}
	if numbers[2] != nil {
		l.Driven = booleans(numbers[2])
	}
	steps := len(numbers[0])
	r := contiguousRegion(0, data.at, &Streamed{DataType: d, RowShape: slices.Clone(shape[1:])})
	return s.addLayer(l, shape, numbers[0], numbers[1], &fileRows{file: file, region: r, steps: steps})
}

func (s *Store) matColumns(f *matFile) (err error) {
	if s.provenance, err = f.text("provenance"); err != nil {
		return err
	}
	mask, err := f.integers("valid")
	if err != nil {
		return err
	}
	if mask != nil {
		s.valid = booleans(mask)
	}
	s.column = func(name string) (any, error) { return f.variables[name].values() }
	for _, name := range f.names {
		v := f.variables[name]
		n, ok := byteSize(v.shape, 1)
		oneDimension := len(v.shape) == 2 && v.shape[0] == 1 // padded to two
		if ok && int(n) == s.rows && oneDimension && v.class != mxChar && !slices.Contains(matOwn, name) {
			s.columns = append(s.columns, name)
		}
	}
	return nil
}
