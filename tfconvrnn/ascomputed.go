package tfconvrnn

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tfconvrnn/go/internal/libtf"
	"github.com/tfconvrnn/go/internal/tfpb"
)

// AsComputed has report called as soon as a layer's values at a timestep are there, while the rest
// of the batch is being computed: once for each layer, by its index in the extraction, and each of
// its timesteps in order, by its index in LayerOutput.Timesteps. Batch.Feature gives these values
// and those reported before; the batch is valid until report returns. In which order layers come is
// TensorFlow's choice. The values are those of a run without reports. report is called by one
// goroutine for each batch, and for several batches at once where a model is on several devices.
func AsComputed(report func(b *Batch, layer, timestep int)) ExtractOption {
	return func(o *extractOptions) { o.computed = report }
}

// reportTo has what is computed of a batch's input reported.
func (b *Batch) reportTo(in *input, report func(b *Batch, layer, timestep int)) {
	if report == nil {
		return
	}
	in.computed = func(so *result, layer, timestep int) {
		partly := *b
		partly.result = so
		report(&partly, layer, timestep)
	}
}

// reporter hands out what a session computes while it runs. A run whose targets put values into a
// queue of TensorFlow's runs beside runs that take them out.
type reporter struct {
	mu sync.Mutex // held by a run that reports: there is one queue
	// enqueue has the operation that puts a tensor's value into the queue, under its number.
	enqueue map[string]*libtf.Operation
	tensors []string
	dequeue []libtf.Output
	size    []libtf.Output // the number of values in the queue
}

// prefixOfReports is that of the names of the operations that are added to the graph.
const prefixOfReports = "reports"

// reporter returns the model's, and adds its operations to the graph when it is needed first. It is locked.
func (m *Model) reporter() (*reporter, error) {
	r := &m.reports
	r.mu.Lock()
	if r.size != nil {
		return r, nil
	}
	err := m.addReports(r)
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	return r, nil
}

func (m *Model) addReports(r *reporter) error {
	r.tensors = nil
	for i := range m.manifest.Layers {
		for _, step := range m.manifest.Layers[i].Timesteps {
			if step.Kind != kindConstant && !slices.Contains(r.tensors, step.Tensor) {
				r.tensors = append(r.tensors, step.Tensor)
			}
		}
	}
	outputs, err := m.outputs(r.tensors)
	if err != nil {
		return err
	}
	graph := &tfpb.GraphDef{Versions: &tfpb.VersionDef{Producer: reportsProducer}, Node: []*tfpb.NodeDef{
		reportNode("queue", "FIFOQueueV2", nil, map[string]*tfpb.AttrValue{"component_types": reportTypes}),
		reportNode("dequeue", "QueueDequeueV2", []string{"queue"},
			map[string]*tfpb.AttrValue{"component_types": reportTypes}),
		reportNode("size", "QueueSizeV2", []string{"queue"}, nil),
	}}
	inputs := map[string]libtf.Output{}
	for i, output := range outputs {
		value := fmt.Sprintf("value%d", i)
		inputs[value] = output
		graph.Node = append(graph.Node, reportNumber(fmt.Sprintf("number%d", i), int32(i)),
			reportNode(fmt.Sprint(i), "QueueEnqueueV2", []string{"queue", fmt.Sprintf("number%d", i), value},
				map[string]*tfpb.AttrValue{"Tcomponents": reportTypes}))
	}
	text, err := proto.Marshal(graph)
	if err != nil {
		return err
	}
	if err := m.saved.Graph.ImportWith(text, prefixOfReports, inputs); err != nil {
		return closedError(err)
	}
	operation := func(name string) *libtf.Operation { return m.saved.Graph.Operation(prefixOfReports + "/" + name) }
	r.enqueue = map[string]*libtf.Operation{}
	for i, tensor := range r.tensors {
		r.enqueue[tensor] = operation(fmt.Sprint(i))
	}
	taken := operation("dequeue")
	r.dequeue = []libtf.Output{taken.Output(0), taken.Output(1)}
	r.size = []libtf.Output{operation("size").Output(0)}
	return nil
}

// reportsProducer is the version of GraphDef of the operations that are added, which every TensorFlow here reads.
const reportsProducer = 1087

// reportTypes are those of an element of the queue: a number and a value.
var reportTypes = &tfpb.AttrValue{
	Value: &tfpb.AttrValue_List{List: &tfpb.AttrValue_ListValue{Type: []tfpb.DataType{tfpb.DataType_DT_INT32,
		tfpb.DataType_DT_FLOAT}}}}

func reportNode(name, op string, inputs []string, attributes map[string]*tfpb.AttrValue) *tfpb.NodeDef {
	return &tfpb.NodeDef{Name: name, Op: op, Input: inputs, Attr: attributes}
}

func reportNumber(name string, number int32) *tfpb.NodeDef {
	value := &tfpb.TensorProto{Dtype: tfpb.DataType_DT_INT32, TensorShape: &tfpb.TensorShapeProto{},
		IntVal: []int32{number}}
	return reportNode(name, "Const", nil, map[string]*tfpb.AttrValue{
		"dtype": {Value: &tfpb.AttrValue_Type{Type: value.Dtype}}, "value": {Value: &tfpb.AttrValue_Tensor{Tensor: value}},
	})
}

// fetchReporting is fetch that reports what is computed meanwhile.
func (m *Model) fetchReporting(ctx context.Context, r *request, in *input, feeds []libtf.Feed, fetches []libtf.Output,
	res *result) error {
	reports, err := m.reporter()
	if err != nil {
		return err
	}
	defer reports.mu.Unlock()
	so := *res
	so.tensors = make([]*libtf.Tensor, len(r.fetches))
	defer libtf.CloseAll(so.tensors)
	progress := newProgress(r, func(layer, timestep int) { in.computed(&so, layer, timestep) })
	progress.report()
	var targets []*libtf.Operation
	for _, name := range r.fetches {
		if operation := reports.enqueue[name]; operation != nil {
			targets = append(targets, operation)
		}
	}
	over, taken := make(chan struct{}), make(chan error, 1)
	go func() {
		taken <- reports.take(m, over, func(tensor string, value *libtf.Tensor) {
			so.tensors[r.fetchIndex[tensor]] = value
			progress.have[tensor] = true
			progress.report()
		})
	}()
	res.tensors, err = m.saved.Session.Run(ctx, feeds, fetches, targets)
	close(over)
	// Whatever the run came to, the queue is empty now.
	if takeErr := <-taken; err == nil {
		err = takeErr
	}
	return err
}

// reportInterval is how long what is computed may wait to be reported.
const reportInterval = 5 * time.Millisecond

// take passes on what is put into the queue, until it is over and the queue is empty. It asks for the number of values
// first, and so never waits in the session, which can be closed meanwhile.
func (r *reporter) take(m *Model, over <-chan struct{}, pass func(tensor string, value *libtf.Tensor)) error {
	for last := false; ; {
		waiting, rest, err := r.number(m, r.size)
		if err != nil {
			return err
		}
		libtf.CloseAll(rest)
		for range waiting {
			number, rest, err := r.number(m, r.dequeue)
			if err != nil {
				return err
			}
			pass(r.tensors[number], rest[0])
		}
		if last && waiting == 0 {
			return nil
		}
		select {
		case <-over:
			last = true
		case <-time.After(reportInterval):
		}
	}
}

// number runs outputs of which the first is a number, and returns the rest, which the caller closes.
func (r *reporter) number(m *Model, outputs []libtf.Output) (int, []*libtf.Tensor, error) {
	results, err := m.saved.Session.Run(context.Background(), nil, outputs, nil)
	if err != nil {
		return 0, nil, closedError(err)
	}
	defer results[0].Close()
	numbers, err := libtf.Data[int32](results[0])
	if err != nil {
		libtf.CloseAll(results[1:])
		return 0, nil, err
	}
	return int(numbers[0]), results[1:], nil
}

// progress says which timesteps of a request's layers can be reported next.
type progress struct {
	request *request
	next    []int // of each layer, by its place in the request
	have    map[string]bool
	tell    func(layer, timestep int)
}

func newProgress(r *request, tell func(layer, timestep int)) *progress {
	return &progress{request: r, next: make([]int, len(r.layers)), have: map[string]bool{}, tell: tell}
}

// report tells what has come, the timesteps of each layer in order.
func (p *progress) report() {
	for i, l := range p.request.layers {
		for ; p.next[i] < len(l.timesteps); p.next[i]++ {
			if step := &l.layer.Timesteps[l.timesteps[p.next[i]]]; step.Kind != kindConstant && !p.have[l.prefix+step.Tensor] {
				break
			}
			p.tell(i, p.next[i])
		}
	}
}

// reportAll reports what was computed at once.
func (in *input) reportAll(r *request, res *result) {
	if in.computed == nil {
		return
	}
	p := newProgress(r, func(layer, timestep int) { in.computed(res, layer, timestep) })
	for _, name := range r.fetches {
		p.have[name] = true
	}
	p.report()
}
