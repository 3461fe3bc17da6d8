"""Writes tests/golden/{poisson,negative_binomial_*}.safetensors: a pass of jax, in f64 and with its own automatic
differentiation and its own log-probabilities, of models of counts.

    python -m venv venv && venv/bin/pip install jax safetensors
    venv/bin/python tools/counts_golden.py tests/golden
"""
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jax.scipy.stats import poisson
from safetensors.numpy import save_file

jax.config.update("jax_enable_x64", True)
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
    mean = jnp.exp(linear("decoder.out", h))
    x = x[:, None]
    if case["likelihood"] == "poisson":
        log_p = poisson.logpmf(x, mean)
    else:
        network = case.get("dispersion") == "network"
        log_dispersion = linear("decoder.out_logdispersion", h) if network else params["decoder.logdispersion"]
        log_p = log_negative_binomial(x, mean, jnp.exp(-log_dispersion))
    nll = -jnp.sum(log_p, axis=2)
    if case["objective"] == "iwae":
        ratio = 0.5 * jnp.sum(z**2 - logvar[:, None] - eps**2, axis=2)
        bound = jax.nn.logsumexp(-nll - ratio, axis=1) - jnp.log(nll.shape[1])
        return -jnp.mean(bound), (nll, kl, bound)
    bound = -jnp.mean(nll, axis=1) - case["beta"] * kl
    return -jnp.mean(bound), (nll, kl, bound)


folder = pathlib.Path(sys.argv[1])
for seed, (name, likelihood, dispersion, objective, samples) in enumerate([
    ("poisson", "poisson", "shared", "elbo", 2),
    ("negative_binomial_scalar", "negative-binomial", "scalar", "elbo", 1),
    ("negative_binomial_shared", "negative-binomial", "shared", "iwae", 3),
    ("negative_binomial_network", "negative-binomial", "network", "elbo", 2),
]):
    rng = np.random.default_rng(seed)
    beta = 0.7 if objective == "elbo" else 1.0
    case = {
        "input": INPUT, "hidden": [HIDDEN], "latent": LATENT, "activation": "tanh", "likelihood": likelihood,
        "objective": objective, "samples": samples, "beta": beta, "free_bits": 0.0, "batch": BATCH,
    }
    if likelihood != "poisson":
        case["dispersion"] = dispersion
    layers = {
        "encoder.0": (HIDDEN, INPUT), "encoder.mu": (LATENT, HIDDEN), "encoder.logvar": (LATENT, HIDDEN),
        "decoder.0": (HIDDEN, LATENT), "decoder.out": (INPUT, HIDDEN),
    }
    if likelihood != "poisson" and dispersion == "network":
        layers["decoder.out_logdispersion"] = (INPUT, HIDDEN)
    params = {}
    for layer, (rows, cols) in layers.items():
        params[layer + ".weight"] = rng.uniform(-1, 1, (rows, cols)) / np.sqrt(cols)
        params[layer + ".bias"] = rng.uniform(-0.5, 0.5, rows)
    params["decoder.out.bias"] += np.linspace(-1, 6, INPUT)  # means from under 1 to 400
    if likelihood != "poisson" and dispersion != "network":
        params["decoder.logdispersion"] = rng.uniform(-2, 1, 1 if dispersion == "scalar" else INPUT)
    x = rng.poisson(rng.gamma(1.0, np.exp(np.linspace(-1, 6, INPUT)), (BATCH, INPUT))).astype(np.float64)
    eps = rng.normal(size=(BATCH, samples, LATENT))
    (value, (nll, kl, bound)), grads = jax.value_and_grad(loss, has_aux=True)(params, x, eps, case)
    tensors = {"x": x, "eps": eps, "out.nll": nll, "out.kl": kl, "out.bound": bound, "out.loss": value[None]}
    tensors |= {f"param.{key}": v for key, v in params.items()} | {f"grad.{key}": v for key, v in grads.items()}
    save_file({key: np.ascontiguousarray(v, dtype=np.float64) for key, v in tensors.items()},
              folder / f"{name}.safetensors", metadata={"config": json.dumps(case)})
    print(name, float(value), "counts to", x.max())
