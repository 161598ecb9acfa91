package extraction

import (
	"context"

	"github.com/tfconvrnn/go/stimuli"
)

// columnBuffer collects values of a column of the stimuli.
type columnBuffer struct {
	name, kind string
	cell       func(*stimuli.Record) string
	texts      []string
	wholes     []int64
	decimals   []float64
	booleans   []bool
	count      int // of values
}

// columnBuffers returns the columns of an output: those of the recipe, and the hashes of contents.
func (r *Recipe) columnBuffers() []*columnBuffer {
	var columns []*columnBuffer
	for i, c := range r.Columns {
		b := &columnBuffer{name: c.Name, kind: c.Kind}
		switch i {
		case 0:
			b.cell = func(r *stimuli.Record) string { return r.ID }
		case 1:
			b.cell = func(r *stimuli.Record) string { return r.Path }
		default:
			b.cell = func(r *stimuli.Record) string {
				if i-2 < len(r.Cells) {
					return r.Cells[i-2]
				}
				return ""
			}
		}
		columns = append(columns, b)
	}
	return append(columns, &columnBuffer{kind: stimuli.TextColumn, cell: func(r *stimuli.Record) string {
		return r.SHA256
	}})
}

func (b *columnBuffer) add(r *stimuli.Record) {
	b.count++
	switch cell := b.cell(r); b.kind {
	case stimuli.WholeColumn:
		b.wholes = append(b.wholes, stimuli.Whole(cell))
	case stimuli.DecimalColumn:
		b.decimals = append(b.decimals, stimuli.Decimal(cell))
	case stimuli.BooleanColumn:
		b.booleans = append(b.booleans, stimuli.Boolean(cell))
	default:
		b.texts = append(b.texts, cell)
	}
}

func (b *columnBuffer) values() any {
	switch b.kind {
	case stimuli.WholeColumn:
		return b.wholes
	case stimuli.DecimalColumn:
		return b.decimals
	case stimuli.BooleanColumn:
		return b.booleans
	}
	return b.texts
}

func (b *columnBuffer) reset() {
	b.texts, b.wholes, b.decimals, b.booleans, b.count = b.texts[:0], b.wholes[:0], b.decimals[:0], b.booleans[:0], 0
}

// writeColumns writes the columns of a store, for which it goes through all stimuli once.
func (p *Plan) writeColumns(ctx context.Context, put func(name string, content []byte) error) error {
	columns := p.columnBuffers()
	chunks := make([]int, len(columns)) // written
	flush := func(i int) error {
		name, content, err := p.store.Column(i, chunks[i], columns[i].values())
		if err != nil {
			return err
		}
		columns[i].reset()
		chunks[i]++
		return put(name, content)
	}
	err := p.records().each(ctx, 0, p.Stimuli, func(r *stimuli.Record) error {
		for i, c := range columns {
			if c.add(r); c.count == p.store.ColumnRows(i) {
				if err := flush(i); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for i, c := range columns {
		if err == nil && c.count > 0 {
			err = flush(i)
		}
	}
	return err
}

// readColumns puts the values of all columns into a description of an output, for formats
// whose files begin with them.
func (r *Recipe) readColumns(content *outputContent, each func(func([]stimuli.Record) error) error) error {
	columns := r.columnBuffers()
	if err := each(func(records []stimuli.Record) error {
		for i := range records {
			for _, c := range columns {
				c.add(&records[i])
			}
		}
		return nil
	}); err != nil {
		return err
	}
	last := len(columns) - 1
	content.Columns, content.Hashes = nil, columns[last].texts
	for _, c := range columns[:last] {
		content.Columns = append(content.Columns, stimuli.Column{Name: c.name, Values: c.values()})
	}
	return nil
}
