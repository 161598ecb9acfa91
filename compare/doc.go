// Package compare says how well features explain neural and behavioural data, with the
// numbers that the packages of the field give: Brain-Score, scikit-learn, himalaya,
// rsatoolbox. What a number is, and whose, stands at each function.
//
// The common path is a Gram matrix of the features of one layer and timestep, which is
// made once, and fits with it:
//
//	gram := compare.NewGram(stimuli)
//	err := gram.Add(block, features, stride) // as often as there are blocks
//	splits, err := compare.Splits{}.Of(stimuli, categories)
//	fit, err := compare.FitTargets(gram, trials.Average(), splits, compare.PLS{})
//	ceiling, err := compare.InternalConsistency(trials)
//	score := compare.Squared.Apply(fit.Center, ceiling.Center)
//
// Everything is computed in float64, is the same in every run and with any number of
// cores, and draws random numbers only from seeds. NaN stands for what cannot be
// computed, never for what was refused: that is an error, which wraps ErrData,
// ErrConstant or ErrSplits. Functions are safe for concurrent use.
package compare
