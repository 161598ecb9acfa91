package tfconvrnn

import "time"

// Stage is a part of the work on a batch.
type Stage string

// The stages of a batch, in order, and those within StageRun.
const (
	// StageDecode reads, decodes and normalizes the images of a batch.
	StageDecode Stage = "decode"
	// StageQueue is the time in which a batch waits for a session to be free.
	StageQueue Stage = "queue"
	// StageRun computes the batch.
	StageRun Stage = "run"
	// StageConstants, within StageRun, gets what is the same for all stimuli or known
	// of the blank; only the first batches compute it.
	StageConstants Stage = "constants"
	// StageSession, within StageRun, is the run of TensorFlow's session.
	StageSession Stage = "session"
	// StageHold is the time in which a computed batch waits for the sink.
	StageHold Stage = "hold"
	// StageWrite is the time that the sink takes.
	StageWrite Stage = "write"
)

// Span is a stretch of time that a batch spent in a stage.
type Span struct {
	Stage Stage
	// First is the position of the batch's first stimulus in the input, Stimuli the
	// number of its stimuli.
	First, Stimuli int
	// Session is the number of the session that computes the batch, 0 unless a model is
	// on several devices; it has a meaning in StageRun and the stages within.
	Session    int
	Begin, End time.Time
}

// Trace is called at the end of every stage of every batch. It may be called from
// several goroutines at once, and should return soon: the work waits for it. Stages
// that an error or cancellation ends are reported too, unless nothing had begun.
func Trace(report func(Span)) ExtractOption {
	return func(o *extractOptions) { o.trace = report }
}

// A batchTrace reports the spans of one batch; nil reports nothing.
type batchTrace struct {
	report         func(Span)
	first, stimuli int
	session        int
	// ready is when the batch began to wait.
	ready time.Time
}

func (o *extractOptions) traceOf(first, stimuli int) *batchTrace {
	if o.trace == nil {
		return nil
	}
	return &batchTrace{report: o.trace, first: first, stimuli: stimuli}
}

// start begins a stage, which the returned function ends.
func (t *batchTrace) start(stage Stage) (stop func()) {
	if t == nil {
		return func() {}
	}
	begin := time.Now()
	return func() { t.span(stage, begin) }
}

func (t *batchTrace) span(stage Stage, begin time.Time) {
	t.report(Span{Stage: stage, First: t.first, Stimuli: t.stimuli, Session: t.session, Begin: begin, End: time.Now()})
}

// wait notes that the batch begins to wait.
func (t *batchTrace) wait() {
	if t != nil {
		t.ready = time.Now()
	}
}

// waited reports the time since wait.
func (t *batchTrace) waited(stage Stage) {
	if t != nil {
		t.span(stage, t.ready)
	}
}
