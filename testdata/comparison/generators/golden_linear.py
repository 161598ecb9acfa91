# Linear regression of the fixed sets ("wide") by a scikit-learn (1.7.2, numpy 1.26.4, scipy 1.17.1) that leaves out
# singular values below rounding, and how far apart are those of 1.5.2, which does not: in float32, of 20 orders of the
# training stimuli, with the kernels of OpenBLAS that OPENBLAS_CORETYPE names (Haswell, SkylakeX, Prescott).
#
# usage, beside data.npz: python golden_linear.py [linear.json]    without a file it prints the spread
import json
import sys

import numpy as np
import sklearn
from sklearn.linear_model import LinearRegression

data, golden = np.load('data.npz'), json.load(open('brainscore.json'))
at = {s: i for i, s in enumerate(data['stimulus_id'].tolist())}
features = data['features'][[at[i] for i in golden['average_repetition']['stimulus_id']]]
X = features[:, :, 4:].reshape(len(features), -1).astype(np.float32)
Y = np.load('brainscore_arrays.npz')['average_repetition'][:, :, 2]
split = golden['splits']['stratified']['splits'][0]
train, test = np.array(split['train']), np.array(split['test'])
names = data['neuroid_id'].tolist()
order = [names.index(n) for n in golden['neuroid_order_of_raw']]


def correlations(predicted):
    return np.array([np.corrcoef(predicted[:, j], Y[test][:, j])[0, 1] for j in order])


def fit(rows):
    model = LinearRegression().fit(X[rows], Y[rows])
    return correlations(model.predict(X[test]).astype(np.float64)), model


x, y = X.astype(np.float64), Y
mean = x[train].mean(0)
exact = correlations((x[test] - mean) @ np.linalg.pinv(x[train] - mean, rcond=1e-12) @ (y[train] - y[train].mean(0)))
raw, model = fit(train)
if len(sys.argv) > 1:
    json.dump(dict(scikit_learn=sklearn.__version__, raw=raw.tolist(), rank=int(model.rank_)), open(sys.argv[1], 'w'))
    sys.exit()
random = np.random.default_rng(0)
drawn = np.array([fit(random.permutation(train))[0] for _ in range(20)])
print(f'scikit-learn {sklearn.__version__}: rank {model.rank_}, smallest singular values {model.singular_[-2:]}')
print(f'from float64: {abs(raw - exact).max():.1e}, of 20 orders {abs(drawn - exact).max(1).min():.1e} to '
      f'{abs(drawn - exact).max(1).max():.1e}; among themselves {(drawn.max(0) - drawn.min(0)).max():.1e}')
