package libtf

import "sync/atomic"

var quiet atomic.Bool

// LoadQuietly makes [Load] suppress two messages that libtensorflow prints on standard
// error in every process while it is opened, whatever TF_CPP_MIN_LOG_LEVEL says: that
// oneDNN is on, and that it logs before logging is set up. Other messages appear once
// the library is open. It is for programs only: a process that is started meanwhile
// inherits the file that stands in for standard error.
func LoadQuietly() { quiet.Store(true) }

// greetings are the messages that libtensorflow prints in every process.
var greetings = []string{
	"oneDNN custom operations are on.",
	"All log messages before absl::InitializeLog() is called are written to STDERR",
}
