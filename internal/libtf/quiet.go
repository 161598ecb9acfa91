package libtf

import "sync/atomic"

var quiet atomic.Bool

// LoadQuietly makes [Load] keep back what libtensorflow says on standard error while it
// is opened, whatever TF_CPP_MIN_LOG_LEVEL says: that oneDNN is on, and that it logs
// before it is told where. Anything else is written a moment later. It is for
// programs: a process that is started meanwhile would keep the file that stands in for
// standard error.
func LoadQuietly() { quiet.Store(true) }

// greetings are what every process would say.
var greetings = []string{
	"oneDNN custom operations are on.",
	"All log messages before absl::InitializeLog() is called are written to STDERR",
}
