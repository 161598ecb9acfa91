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
//	# {"format":1,"predictor":"…","class_order":"…","timesteps":17}
//	picture,label,predicted,rank,ranks,error
//	n01440764/a.JPEG,0,0,0,812 3 0 0,
//
// rank is the number of outputs that are larger than that of the label, in the
// decoded logits, and ranks are the same for the readout at each timestep.
type recordHeader struct {
	Format    int    `json:"format"`
	Predictor string `json:"predictor"`
	Order     string `json:"class_order"`
	Timesteps int    `json:"timesteps"`
}

const recordFormat = 1

var recordColumns = []string{"picture", "label", "predicted", "rank", "ranks", "error"}

// recordFile is a file of records to which a process adds.
type recordFile struct {
	file *os.File
	lock *flock.Flock
	done map[string]*record
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
	header, err := json.Marshal(recordHeader{recordFormat, predictor.Describe(), set.Order.hash(), len(predictor.Timesteps())})
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
		if !strings.HasPrefix(string(head[:n]), "# {") {
			return nil, fmt.Errorf("%w: %s is not a file of records; choose another name", ErrRecords, path)
		}
		return nil, fmt.Errorf("%w: %s is of another model, presentation, preprocessing or class order; choose another name or remove it", ErrRecords, path)
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
			return nil, fmt.Errorf("%w: %s, line %d: %s had the label %d and has %d now; choose another name or remove the file", ErrRecords, path, number, one.id, label, known)
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
	r := &record{id: fields[0], failed: fields[5]}
	label := number(fields[1])
	if r.failed != "" {
		return r, label, err
	}
	r.predicted, r.rank = number(fields[2]), number(fields[3])
	for _, text := range strings.Fields(fields[4]) {
		r.ranks = append(r.ranks, number(text))
	}
	if err == nil && len(r.ranks) != times {
		err = fmt.Errorf("%d ranks instead of %d", len(r.ranks), times)
	}
	return r, label, err
}

// add appends a record, in one write.
func (r *recordFile) add(one *record, picture Picture) error {
	fields := []string{one.id, strconv.Itoa(picture.Label), "", "", "", ""}
	if one.failed != "" {
		fields[5] = oneLine(one.failed)
	} else {
		ranks := make([]string, len(one.ranks))
		for i, n := range one.ranks {
			ranks[i] = strconv.Itoa(n)
		}
		fields[2], fields[3], fields[4] = strconv.Itoa(one.predicted), strconv.Itoa(one.rank), strings.Join(ranks, " ")
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
