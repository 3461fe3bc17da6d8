"""Writes tests/golden/{poisson,negative_binomial_*,multinomial}.safetensors: a pass of jax, in f64 and with its own automatic
differentiation and its own log-probabilities, of models of counts.

    python -m venv venv && venv/bin/pip install jax safetensors
    venv/bin/python tools/counts_golden.py tests/golden
"""
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jax.scipy.stats import poisson

from golden import minus_bound, weights, write

INPUT, HIDDEN, LATENT, BATCH = 7, 6, 3, 4


def log_negative_binomial(x, mean, r):
    # By gammas, as in textbooks.
    return gammaln(x + r) - gammaln(r) - gammaln(x + 1) + r * jnp.log(r / (r + mean)) + x * jnp.log(mean / (r + mean))


def loss(params, x, eps, case):
    """The mean over the batch of minus the bound, and (nll, kl, bound) of each example."""
    linear = lambda name, v: v @ params[name + ".weight"].T + params[name + ".bias"]
    h = jnp.tanh(linear("encoder.0", jnp.log1p(x)))
    mu, logvar = linear("encoder.mu", h), linear("encoder.logvar", h)
    kl = 0.5 * jnp.sum(mu**2 + jnp.exp(logvar) - 1 - logvar, axis=1)
    z = mu[:, None] + jnp.exp(0.5 * logvar)[:, None] * eps
    h = jnp.tanh(linear("decoder.0", z))
    out = linear("decoder.out", h)
    x = x[:, None]
    mean = jnp.exp(out)
    if case.get("size_factor") == "total":
        mean = x.sum(axis=2, keepdims=True) * jax.nn.softmax(out)
    if case["likelihood"] == "multinomial":
        total = gammaln(x.sum(axis=2, keepdims=True) + 1) - gammaln(x + 1).sum(axis=2, keepdims=True)
        log_p = total + jnp.sum(x * jax.nn.log_softmax(out), axis=2, keepdims=True)
    elif case["likelihood"] == "poisson":
        log_p = poisson.logpmf(x, mean)
    else:
        network = case.get("dispersion") == "network"
        log_dispersion = linear("decoder.out_logdispersion", h) if network else params["decoder.logdispersion"]
        log_p = log_negative_binomial(x, mean, jnp.exp(-log_dispersion))
    nll = -jnp.sum(log_p, axis=2)
    return minus_bound(nll, kl, z, logvar, eps, case)


folder = pathlib.Path(sys.argv[1])
for seed, (name, likelihood, dispersion, objective, samples, *size_factor) in enumerate([
    ("poisson", "poisson", "shared", "elbo", 2),
    ("negative_binomial_scalar", "negative-binomial", "scalar", "elbo", 1),
    ("negative_binomial_shared", "negative-binomial", "shared", "iwae", 3),
    ("negative_binomial_network", "negative-binomial", "network", "elbo", 2),
    ("multinomial", "multinomial", "shared", "iwae", 2),
    ("negative_binomial_of_shares", "negative-binomial", "shared", "elbo", 2, "total"),
    ("negative_binomial_network_of_shares", "negative-binomial", "network", "iwae", 3, "total"),
]):
    rng = np.random.default_rng(seed)
    beta = 0.7 if objective == "elbo" else 1.0
    case = {
        "input": INPUT, "hidden": [HIDDEN], "latent": LATENT, "activation": "tanh", "likelihood": likelihood,
        "objective": objective, "samples": samples, "beta": beta, "free_bits": 0.0, "batch": BATCH,
    }
    if likelihood == "negative-binomial":
        case["dispersion"] = dispersion
    if size_factor:
        case["size_factor"] = size_factor[0]
    layers = {
        "encoder.0": (HIDDEN, INPUT), "encoder.mu": (LATENT, HIDDEN), "encoder.logvar": (LATENT, HIDDEN),
        "decoder.0": (HIDDEN, LATENT), "decoder.out": (INPUT, HIDDEN),
    }
    if likelihood == "negative-binomial" and dispersion == "network":
        layers["decoder.out_logdispersion"] = (INPUT, HIDDEN)
    params = weights(rng, layers)
    params["decoder.out.bias"] += np.linspace(-1, 6, INPUT)  # means from under 1 to 400
    if likelihood == "negative-binomial" and dispersion != "network":
        params["decoder.logdispersion"] = rng.uniform(-2, 1, 1 if dispersion == "scalar" else INPUT)
    x = rng.poisson(rng.gamma(1.0, np.exp(np.linspace(-1, 6, INPUT)), (BATCH, INPUT))).astype(np.float64)
    eps = rng.normal(size=(BATCH, samples, LATENT))
    value = write(folder / f"{name}.safetensors", case, loss, params, x, eps)
    print(name, value, "counts to", x.max())
