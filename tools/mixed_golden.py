"""Writes tests/golden/mixed_*.safetensors: a pass of jax, in f64 and with its own automatic differentiation and its own
log-probabilities, of models whose columns have different likelihoods.

    python -m venv venv && venv/bin/pip install jax safetensors
    venv/bin/python tools/mixed_golden.py tests/golden
"""
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import bernoulli, nbinom, norm, poisson

from golden import minus_bound, weights, write

HIDDEN, LATENT, BATCH, SIGMA = 6, 3, 4, 0.7
# The likelihood of each column: g(aussian), b(ernoulli), p(oisson), n(egative binomial); c and d, the words of a categorical each.
NAMES = {"b": "bernoulli", "p": "poisson", "n": "negative-binomial"}


def others(columns):
    """Columns with a likelihood of their own, as a case names them."""
    words = [["categorical", columns.index(kind), columns.rindex(kind) + 1] for kind in "cd" if kind in columns]
    return sorted([[NAMES[kind], j, j + 1] for j, kind in enumerate(columns) if kind in NAMES] + words, key=lambda o: o[1])


def loss(params, x, eps, case, columns):
    """The mean over the batch of minus the bound, and (nll, kl, bound) of each example."""
    linear = lambda name, v: v @ params[name + ".weight"].T + params[name + ".bias"]
    seen = [jnp.log1p(x[:, j]) if kind in "pn" else x[:, j] for j, kind in enumerate(columns)]
    h = jnp.tanh(linear("encoder.0", jnp.stack(seen, axis=1)))
    mu, logvar = linear("encoder.mu", h), linear("encoder.logvar", h)
    kl = 0.5 * jnp.sum(mu**2 + jnp.exp(logvar) - 1 - logvar, axis=1)
    z = mu[:, None] + jnp.exp(0.5 * logvar)[:, None] * eps
    h = jnp.tanh(linear("decoder.0", z))
    out = linear("decoder.out", h)
    head = linear("decoder.out_logdispersion", h) if "decoder.out_logdispersion.bias" in params else None
    shared = params.get("decoder.logdispersion")
    spread = lambda how, j: {"network": lambda: head[..., j], "shared": lambda: shared[j]}[how]()
    log_p = 0.0
    for kind in "cd":
        words = np.array([j for j, of in enumerate(columns) if of == kind], dtype=int)
        if len(words):
            log_p += jnp.sum(x[:, None, words] * jax.nn.log_softmax(out[..., words]), axis=-1)
    for j, kind in enumerate(columns):
        at, o = x[:, None, j], out[..., j]
        if kind == "g":
            log_variance = 2 * np.log(SIGMA) if case["variance"] == "fixed" else spread(case["variance"], j)
            mean = jax.nn.sigmoid(o) if case["mean"] == "sigmoid" else o
            log_p += norm.logpdf(at, mean, jnp.exp(0.5 * log_variance))
        elif kind == "b":
            log_p += bernoulli.logpmf(at, jax.nn.sigmoid(o))
        elif kind == "p":
            log_p += poisson.logpmf(at, jnp.exp(o))
        elif kind == "n":
            r = jnp.exp(-spread(case["dispersion"], j))
            log_p += nbinom.logpmf(at, r, r / (r + jnp.exp(o)))
    nll = -log_p
    return minus_bound(nll, kl, z, logvar, eps, case)


folder = pathlib.Path(sys.argv[1])
for seed, (name, columns, variance, dispersion, mean, objective, samples) in enumerate([
    ("mixed_shared", "gbbngppgn", "shared", "shared", "identity", "elbo", 2),
    ("mixed_network", "gbbngppgn", "network", "shared", "sigmoid", "iwae", 3),
    ("mixed_fixed", "gbbngppgn", "fixed", "network", "identity", "elbo", 1),
    ("mixed_words", "gcccddbn", "shared", "network", "identity", "elbo", 2),
    ("words", "ddcccc", "fixed", "shared", "identity", "iwae", 3),
]):
    INPUT = len(columns)
    rng = np.random.default_rng(seed)
    beta = 0.7 if objective == "elbo" else 1.0
    case = {
        "input": INPUT, "hidden": [HIDDEN], "latent": LATENT, "activation": "tanh", "likelihood": "gaussian",
        "others": others(columns),
        "variance": variance, "dispersion": dispersion, "mean": mean, "sigma": SIGMA,
        "objective": objective, "samples": samples, "beta": beta, "free_bits": 0.0, "batch": BATCH,
    }
    layers = {
        "encoder.0": (HIDDEN, INPUT), "encoder.mu": (LATENT, HIDDEN), "encoder.logvar": (LATENT, HIDDEN),
        "decoder.0": (HIDDEN, LATENT), "decoder.out": (INPUT, HIDDEN),
    }
    if "network" in (variance if "g" in columns else "", dispersion if "n" in columns else ""):
        layers["decoder.out_logdispersion"] = (INPUT, HIDDEN)
    params = weights(rng, layers)
    if "shared" in (variance if "g" in columns else "", dispersion if "n" in columns else ""):
        params["decoder.logdispersion"] = rng.uniform(-2, 1, INPUT)
    x = np.empty((BATCH, INPUT))
    for j, kind in enumerate(columns):
        draws = {"g": rng.normal(size=BATCH), "b": rng.integers(0, 2, BATCH), "c": 0, "d": 0}
        x[:, j] = draws[kind] if kind in draws else rng.poisson(rng.gamma(1.0, 3.0 + j, BATCH))
    for kind in "cd":
        words = [j for j, of in enumerate(columns) if of == kind]
        for row in range(BATCH if words else 0):
            x[row, rng.choice(words)] = 1
    eps = rng.normal(size=(BATCH, samples, LATENT))
    value = write(folder / f"{name}.safetensors", case, lambda *of: loss(*of, columns), params, x, eps)
    print(name, value)
