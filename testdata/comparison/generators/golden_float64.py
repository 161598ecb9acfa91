"""Ridge and linear regression by brainscore-vision 2.4.2 of the same features as golden_brainscore.py's, but in float64: scikit-learn
computes in the type of the features, and float32 leaves errors of 1e-5 and more. Run after golden_brainscore.py, in the same environment."""
import json, os, warnings; warnings.filterwarnings('ignore'); os.environ['BS_INSTALL_DEPENDENCIES'] = 'no'
import tqdm as _t
from functools import partialmethod
_t.tqdm.__init__ = partialmethod(_t.tqdm.__init__, disable=True)
from make_data import *
from brainscore_vision import load_metric
from brainscore_vision.benchmark_helpers.neural_common import average_repetition
from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly, walk_coords
S = json.load(open(f'{OUT}/brainscore.json'))
avg = average_repetition(neural(data)); feat = model(feats.astype(np.float64), [(10*t, 10*t+10) for t in range(TM)])
ids = avg['stimulus_id'].values; place = {v: i for i, v in enumerate(stimulus_id)}; split = S['splits']['stratified']['splits'][0]
assert ids.tolist() == S['average_repetition']['stimulus_id']
def tb(a, start): return a.isel(time_bin=int(np.where(a['time_bin_start'].values == start)[0][0]))
def sel(a, idx): return a.isel(presentation=[{v: i for i, v in enumerate(a['stimulus_id'].values)}[v] for v in ids[idx]])
G = dict(predictivity={}, split_metrics={})
bins = [b[0] for b in BINS]
for metric in ('ridge', 'linear_predictivity'):
    for cv, coord in (('stratified', 'object_name'), ('unstratified', None)):
        for b in (bins if metric == 'ridge' and coord else [90]):
            s = load_metric(metric, crossvalidation_kwargs=dict(stratification_coord=coord))(tb(feat, b), tb(avg, b))
            G['predictivity'][f'{metric}/{cv}/{b}'] = dict(center=float(s.values), error=float(s.attrs['error'].values), raw=s.attrs['raw'].transpose('split', 'neuroid').values.tolist())
wv = feat.transpose('presentation', 'neuroid', 'time_bin').values[:, :, 4:].reshape(N, -1)
wide = NeuroidAssembly(wv, dims=['presentation', 'neuroid'], coords={'stimulus_id': ('presentation', stimulus_id), 'object_name': ('presentation', object_name),
    'neuroid_id': ('neuroid', [f'w{i}' for i in range(wv.shape[1])]), 'neuroid_num': ('neuroid', np.arange(wv.shape[1]))})
for m in ('ridge_split', 'ridgecv_split', 'dual_ridge_split', 'linear_predictivity_split'):
    for src, f in (('narrow', tb(feat, 90)), ('wide', wide)):
        t = tb(avg, 90)
        s = load_metric(m)(source_train=sel(f, split['train']), source_test=sel(f, split['test']), target_train=sel(t, split['train']), target_test=sel(t, split['test']))
        G['split_metrics'][f'{m}/{src}'] = dict(center=float(s.values), raw=s.attrs['raw'].values.tolist())
fw = feat.isel(time_bin=[int(np.where(feat['time_bin_start'].values == b)[0][0]) for b in bins])
fw = NeuroidAssembly(fw.values, dims=fw.dims, coords={c: (d, v) for c, d, v in walk_coords(fw)})
s = load_metric('spantime_ridge', crossvalidation_kwargs=dict(stratification_coord='object_name'))(fw, avg)
G['spantime_ridge'] = dict(center=s.values.tolist(), raw=s.attrs['raw'].transpose('split', 'time_bin', 'neuroid').values.tolist())
json.dump(G, open(f'{OUT}/float64.json', 'w'))
