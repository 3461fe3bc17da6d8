"""Writes tests/mixture/{diag,full}.safetensors: a few rounds of scikit-learn's GaussianMixture from a given start.

    python -m venv venv && venv/bin/pip install numpy scikit-learn safetensors
    venv/bin/python tools/mixture_golden.py tests/mixture
"""
import json
import pathlib
import sys
import warnings

import numpy as np
import sklearn
from safetensors.numpy import save_file
from sklearn.mixture import GaussianMixture

ROWS, COLS, COMPONENTS, ITERATIONS, FLOOR = 300, 5, 3, 7, 1e-6

folder = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(1)
centres = rng.normal(0, 2, (COMPONENTS, COLS))
mixing = rng.normal(0, 1, (COMPONENTS, COLS, COLS)) / np.sqrt(COLS)
z = rng.choice(COMPONENTS, ROWS, p=[0.5, 0.3, 0.2])
x = centres[z] + np.einsum("nij,nj->ni", mixing[z], rng.normal(size=(ROWS, COLS))) + rng.normal(0, 0.3, (ROWS, COLS))
x += [0, 0, 10, -100, 0]  # not centred

# A start that is far from any optimum, so that every round moves.
weights = np.array([0.2, 0.3, 0.5])
means = x[[3, 50, 120]] + rng.normal(0, 0.5, (COMPONENTS, COLS))
spread = np.stack([(0.5 + k) * np.eye(COLS) + 0.2 for k in range(COMPONENTS)])

for kind in ["diag", "full"]:
    start = spread if kind == "full" else np.stack([np.diag(s) for s in spread])
    precisions = np.linalg.inv(start) if kind == "full" else 1 / start
    model = GaussianMixture(
        COMPONENTS, covariance_type=kind, tol=0, reg_covar=FLOOR, max_iter=ITERATIONS,
        weights_init=weights, means_init=means, precisions_init=precisions,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: it shall not
        model.fit(x)
    assert model.n_iter_ == ITERATIONS
    tensors = {
        "x": x, "start.weights": weights, "start.means": means, "start.spread": start,
        "weights": model.weights_, "means": model.means_, "spread": model.covariances_,
        "log_p": model.score_samples(x), "responsibilities": model.predict_proba(x),
    }
    settings = {"iterations": ITERATIONS, "floor": FLOOR, "sklearn": sklearn.__version__}
    save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, folder / f"{kind}.safetensors",
              metadata={"config": json.dumps(settings)})
    print(kind, model.score(x), model.weights_)
