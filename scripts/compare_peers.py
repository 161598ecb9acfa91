"""Measures peers and tfconvrnn-cli in turns; see compare_peers.sh.

usage: compare_peers.py FOLDER STIMULI FEATURES NEUROIDS SPLITS ROUNDS
       compare_peers.py FOLDER run PEER SPLITS      (one measurement, in a process of its own)
"""

import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

folder = Path(sys.argv[1])
REPETITIONS = 5


def make(n, p, q):
    """Features with a falling spectrum, and neuroids that see part of them, with noise."""
    random = np.random.default_rng(1)
    latent = random.normal(size=(n, 60)) / np.sqrt(1 + np.arange(60))
    features = np.maximum(latent @ random.normal(size=(60, p)) + 0.3 * random.normal(size=(n, p)), 0).astype(np.float32)
    signal = latent @ random.normal(size=(60, q))
    rates = (signal / signal.std(0))[:, None] + random.normal(size=(n, REPETITIONS, q))
    ids = np.array([f"s{i:05d}" for i in range(n)])
    np.savez(folder / "features.npz", **{"conv9": features[:, None], "conv9/timesteps": np.array([9], np.int32),
                                         "conv9/ms": np.array([90], np.int32), "stimuli": ids})
    np.savez(folder / "neural.npz", rates=rates)
    (folder / "ids.txt").write_text("\n".join(ids) + "\n")


def run(peer, splits):
    """Prints the seconds of a peer's call, without imports and reading, and its score."""
    os.environ.update(BS_INSTALL_DEPENDENCIES="no", RESULTCACHING_DISABLE="1")
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    from functools import partialmethod
    import tqdm
    tqdm.tqdm.__init__ = partialmethod(tqdm.tqdm.__init__, disable=True)
    from brainscore_core.supported_data_standards.brainio.assemblies import NeuroidAssembly
    from brainscore_vision import load_ceiling, load_metric
    data = np.load(folder / "features.npz")
    x, rates, ids = data["conv9"][:, 0], np.load(folder / "neural.npz")["rates"], data["stimuli"]
    n, repetitions, q = rates.shape
    kwargs = dict(crossvalidation_kwargs=dict(stratification_coord=None, splits=splits))

    def assembly(values, stimulus, name, **more):
        return NeuroidAssembly(values, dims=["presentation", "neuroid"], coords={
            "stimulus_id": ("presentation", ids[stimulus]), "image": ("presentation", stimulus),
            "neuroid_id": ("neuroid", [f"{name}{i}" for i in range(values.shape[1])]),
            "neuroid_num": ("neuroid", np.arange(values.shape[1])), **more})
    features, neural = assembly(x, np.arange(n), "f"), assembly(rates.mean(1), np.arange(n), "n")
    stimulus, repetition = np.divmod(np.arange(n * repetitions), repetitions)
    trials = assembly(rates.reshape(-1, q), stimulus, "n", repetition=("presentation", repetition))
    calls = {
        "pls": lambda: load_metric("pls", **kwargs)(features, neural),
        "ridge": lambda: load_metric("ridge", **kwargs)(features, neural),
        "rsa": lambda: load_metric("rdm")(features, neural),
        "cka": lambda: load_metric("cka")(features, neural),
        "ceiling": lambda: load_ceiling("internal_consistency")(trials),
    }
    if peer == "ridge-kfold":
        from himalaya.kernel_ridge import KernelRidgeCV
        from sklearn.model_selection import ShuffleSplit
        def kfold():
            medians = []
            for train, test in ShuffleSplit(splits, train_size=0.9, random_state=1).split(x):
                y = rates.mean(1)
                model = KernelRidgeCV(alphas=np.logspace(-2, 5, 15), cv=5, fit_intercept=True, warn=False)
                model.fit(x[train].astype(float), y[train])
                predicted = model.predict(x[test].astype(float))
                medians.append(np.median([np.corrcoef(predicted[:, j], y[test][:, j])[0, 1] for j in range(q)]))
            return np.mean(medians)
        calls[peer] = kfold
    start = time.perf_counter()
    score = calls[peer]()
    print(json.dumps({"seconds": time.perf_counter() - start, "score": float(getattr(score, "values", score))}))


def measured(command):
    """Seconds, peak memory in MB and standard output of a command."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit status {status}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, out


def compare(splits, rounds):
    ours = {
        "pls": ["fit", "--splits", splits], "ridge": ["fit", "--metric", "ridge", "--splits", splits],
        "ridge-kfold": ["fit", "--metric", "ridge-kfold", "--per-neuroid", "--splits", splits,
                        "--alphas", ",".join(map(str, np.logspace(-2, 5, 15)))],
        "rsa": ["rsa"], "cka": ["cka"], "ceiling": ["ceiling"],
    }
    data = ["--data", folder / "neural.npz", "--data-array", "rates", "--data-axes", "stimulus,repetition,neuroid",
            "--data-coordinate", f"stimulus_id@stimulus={folder / 'ids.txt'}", "--json", "--quiet"]
    print("| | peer: the call | here: the whole command | times as fast | scores |\n|---|---|---|---|---|")
    for name, arguments in ours.items():
        features = [] if name == "ceiling" else ["--features", folder / "features.npz", "--gram-cache", "none"]
        peer, here = [], []
        for _ in range(rounds):  # in turns
            _, memory, out = measured([sys.executable, __file__, folder, "run", name, splits])
            peer.append((json.loads(out)["seconds"], memory, json.loads(out)["score"]))
            seconds, memory, out = measured([folder / "tfconvrnn-cli", "compare", *arguments, *features, *data])
            score = json.loads(out)["scores"][0]
            here.append((seconds, memory, score["ceiling"] if name == "ceiling" else score["score"]))
        a, b = (statistics.median(s for s, _, _ in m) for m in (peer, here))
        memory = [max(m for _, m, _ in runs) for runs in (peer, here)]
        print(f"| {name} | {a:.2f} s, {memory[0]:.0f} MB | {b:.2f} s, {memory[1]:.0f} MB | {a / b:.1f} | "
              f"{peer[0][2]:.6f}, {here[0][2]:.6f} |", flush=True)


if sys.argv[2] == "run":
    run(sys.argv[3], int(sys.argv[4]))
else:
    make(*map(int, sys.argv[2:5]))
    print(f"{sys.argv[2]} stimuli, {sys.argv[3]} features, {sys.argv[4]} neuroids, {REPETITIONS} repetitions, "
          f"{sys.argv[5]} splits; medians of {sys.argv[6]} rounds\n", flush=True)
    compare(sys.argv[5], int(sys.argv[6]))
