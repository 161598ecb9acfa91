package evaluation

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/gofrs/flock"

	"github.com/tfconvrnn/go/internal/imagenet"
)

// A file of records is CSV behind a line that says what it is of:
//
//	# {"format":2,"predictor":"…","class_order":"…","among":"…","timesteps":17}
//	picture,sha256,label,predicted,rank,ranks,driven,error
//	n01440764/a.JPEG,9f86…,0,0,0,812 3 0 0,1,
//
// sha256 is of the picture's file, or "" where it could not be read. rank is the number
// of outputs that are larger than that of the label, of those among which the likeliest
// is chosen, in the decoded logits, and ranks are the same for the readout at each
// timestep. driven is 1 if the image can have reached what was decoded, else 0. Of
// several lines of a picture the last one counts.
type recordHeader struct {
	Format    int    `json:"format"`
	Predictor string `json:"predictor"`
	Order     string `json:"class_order"`
	Among     string `json:"among"`
	Timesteps int    `json:"timesteps"`
}

const recordFormat = 2

var recordColumns = []string{"picture", "sha256", "label", "predicted", "rank", "ranks", "driven", "error"}

// recordFile is a file of records to which a process adds.
type recordFile struct {
	file *os.File
	lock *flock.Flock
	done map[string]*record // of what was there when it was opened
}

// openRecords opens or makes a file of records and reads what is there. A last line
// that a killed process left incomplete is cut off.
func openRecords(path string, set *Set, predictor Predictor) (_ *recordFile, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	r := &recordFile{file: f, lock: flock.New(path), done: map[string]*record{}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if locked, err := r.lock.TryLock(); err != nil {
		return nil, err
	} else if !locked {
		return nil, fmt.Errorf("%w: another process is writing to %s", ErrRecords, path)
	}
	own := recordHeader{recordFormat, predictor.Describe(), set.Order.hash(), set.amongHash(), len(predictor.Timesteps())}
	header, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	want := "# " + string(header) + "\n" + strings.Join(recordColumns, ",") + "\n"
	reader := bufio.NewReader(f)
	head := make([]byte, len(want))
	n, err := io.ReadFull(reader, head)
	if (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) && strings.HasPrefix(want, string(head[:n])) {
		// New, or killed before the first picture.
		if err := f.Truncate(0); err != nil {
			return nil, err
		}
		_, err := f.WriteAt([]byte(want), 0)
		if err == nil {
			_, err = f.Seek(0, io.SeekEnd)
		}
		return r, err
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if string(head[:n]) != want {
		return nil, fmt.Errorf("%w: %s %s", ErrRecords, path, own.difference(string(head[:n])))
	}
	labels := make(map[string]int, len(set.Pictures))
	for _, p := range set.Pictures {
		labels[p.ID] = p.Label
	}
	end := int64(len(want))
	for number := 3; ; number++ {
		text, err := reader.ReadString('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		one, label, err := parseRecord(text, len(predictor.Timesteps()))
		if err != nil {
			return nil, fmt.Errorf("%w: %s, line %d: %w", ErrRecords, path, number, err)
		}
		if known, ok := labels[one.id]; ok && known != label {
			return nil, fmt.Errorf("%w: %s, line %d: %s had the label %d and has %d now; choose another name or remove the file",
				ErrRecords, path, number, one.id, label, known)
		}
		r.done[one.id] = one
		end += int64(len(text))
	}
	if err := f.Truncate(end); err != nil {
		return nil, err
	}
	_, err = f.Seek(end, io.SeekStart)
	return r, err
}

// difference says what tells a file's beginning from that of this evaluation's records.
func (h recordHeader) difference(head string) string {
	line, _, whole := strings.Cut(head, "\n")
	text, ok := strings.CutPrefix(line, "# ")
	var other recordHeader
	if !ok || !strings.HasPrefix(text, "{") {
		return "is not a file of records; choose another name"
	}
	if err := json.Unmarshal([]byte(text), &other); err != nil {
		if whole {
			return "is not a file of records; choose another name"
		}
		other = recordHeader{Format: h.Format} // a longer line than ours: of another predictor
	}
	what := "model, weights, presentation, blank, preprocessing, precision or version of this program"
	switch {
	case other.Format != h.Format:
		what = fmt.Sprintf("format (%d instead of %d)", other.Format, h.Format)
	case other.Predictor == h.Predictor && other.Order != h.Order:
		what = "class order"
	case other.Predictor == h.Predictor && other.Among != h.Among:
		what = "choice of classes"
	}
	return "is of another " + what + "; choose another name or remove it"
}

func parseRecord(text string, times int) (*record, int, error) {
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return nil, 0, err
	}
	if len(fields) != len(recordColumns) {
		return nil, 0, fmt.Errorf("%d columns instead of %d", len(fields), len(recordColumns))
	}
	number := func(text string) int {
		n, numberErr := strconv.Atoi(text)
		if numberErr != nil || n < 0 || n >= imagenet.Classes {
			err = errors.Join(err, fmt.Errorf("%q is not a number from 0 to %d", text, imagenet.Classes-1))
		}
		return n
	}
	r := &record{id: fields[0], hash: fields[1], driven: fields[6] == "1", failed: fields[7]}
	label := number(fields[2])
	if r.failed != "" {
		return r, label, err
	}
	r.predicted, r.rank = number(fields[3]), number(fields[4])
	for _, text := range strings.Fields(fields[5]) {
		r.ranks = append(r.ranks, number(text))
	}
	if err == nil && len(r.ranks) != times {
		err = fmt.Errorf("%d ranks instead of %d", len(r.ranks), times)
	}
	return r, label, err
}

// add appends a record, in one write, unless it says again why a picture failed.
func (r *recordFile) add(one *record, picture Picture) error {
	fields := []string{one.id, one.hash, strconv.Itoa(picture.Label), "", "", "", "", ""}
	if one.failed != "" {
		fields[7] = oneLine(one.failed)
		if before := r.done[one.id]; before != nil && before.hash == one.hash && before.failed == fields[7] {
			return nil
		}
	} else {
		ranks := make([]string, len(one.ranks))
		for i, n := range one.ranks {
			ranks[i] = strconv.Itoa(n)
		}
		fields[3], fields[4], fields[5], fields[6] = strconv.Itoa(one.predicted), strconv.Itoa(one.rank),
			strings.Join(ranks, " "), "0"
		if one.driven {
			fields[6] = "1"
		}
	}
	var line bytes.Buffer
	w := csv.NewWriter(&line)
	if err := w.Write(fields); err != nil {
		return err
	}
	w.Flush()
	_, err := r.file.Write(line.Bytes())
	return err
}

func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// close syncs and closes the file. It may be called more than once.
func (r *recordFile) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Sync()
	if errors.Is(err, fs.ErrInvalid) { // devices and pipes
		err = nil
	}
	err = errors.Join(err, r.file.Close(), r.lock.Close())
	r.file = nil
	return err
}
