"""Writes tests/golden/path_*.safetensors: a pass of jax, in f64, of models whose encoder follows the path gradient. jax differentiates
a loss in which log q(z|x) holds mu and logvar as constants, and of iwae another one for the encoder, whose draws count by their squared
share of the weights (Tucker et al. 2019, equation 8); the decoder's is that of the bound.

    python -m venv venv && venv/bin/pip install jax safetensors
    venv/bin/python tools/path_golden.py tests/golden
"""
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from golden import weights, write_with

INPUT, HIDDEN, LATENT, BATCH = 7, 6, 3, 4
still = jax.lax.stop_gradient


def parts(params, x, eps):
    """log p(x|z) + log p(z) and log q(z|x) of each draw, the latter of constant mu and logvar; and (nll, kl)."""
    linear = lambda name, v: v @ params[name + ".weight"].T + params[name + ".bias"]
    h = jnp.tanh(linear("encoder.0", x))
    mu, logvar = linear("encoder.mu", h), linear("encoder.logvar", h)
    kl = 0.5 * jnp.sum(mu**2 + jnp.exp(logvar) - 1 - logvar, axis=1)
    z = mu[:, None] + jnp.exp(0.5 * logvar)[:, None] * eps
    logits = linear("decoder.out", jnp.tanh(linear("decoder.0", z)))
    nll = -jnp.sum(x[:, None] * jax.nn.log_sigmoid(logits) + (1 - x[:, None]) * jax.nn.log_sigmoid(-logits), axis=2)
    log_normal = lambda z, mu, logvar: -0.5 * jnp.sum(jnp.log(2 * jnp.pi) + logvar + (z - mu) ** 2 / jnp.exp(logvar), axis=2)
    log_q = log_normal(z, still(mu)[:, None], still(logvar)[:, None])
    return nll, log_normal(z, 0.0, jnp.zeros(LATENT)), log_q, kl


def bounds(params, x, eps, case):
    nll, log_prior, log_q, kl = parts(params, x, eps)
    if case["objective"] == "iwae":
        bound = jax.nn.logsumexp(-nll + log_prior - log_q, axis=1) - jnp.log(nll.shape[1])
    else:
        bound = jnp.mean(-nll + case["beta"] * (log_prior - log_q), axis=1)
    return -jnp.mean(bound), (nll, kl, bound)


def gradients(params, x, eps, case):
    """The loss with what belongs to it, and the gradients that a step applies."""
    value, of_bound = jax.value_and_grad(bounds, has_aux=True)(params, x, eps, case)
    if case["objective"] != "iwae":
        return value, of_bound

    def squared(params):
        nll, log_prior, log_q, _ = parts(params, x, eps)
        log_w = -nll + log_prior - log_q
        return -jnp.mean(jnp.sum(still(jax.nn.softmax(log_w, axis=1)) ** 2 * log_w, axis=1))

    of_encoder = jax.grad(squared)(params)
    return value, {name: (of_encoder if name.startswith("encoder") else of_bound)[name] for name in params}


folder = pathlib.Path(sys.argv[1])
for seed, (name, objective, samples, beta) in enumerate([
    ("path_elbo_mc", "elbo-mc", 3, 0.7),
    ("path_iwae_k1", "iwae", 1, 1.0),
    ("path_iwae", "iwae", 4, 1.0),
]):
    rng = np.random.default_rng(seed)
    case = {
        "input": INPUT, "hidden": [HIDDEN], "latent": LATENT, "activation": "tanh", "likelihood": "bernoulli",
        "objective": objective, "gradient": "path", "samples": samples, "beta": beta, "free_bits": 0.0, "batch": BATCH,
    }
    params = weights(rng, {
        "encoder.0": (HIDDEN, INPUT), "encoder.mu": (LATENT, HIDDEN), "encoder.logvar": (LATENT, HIDDEN),
        "decoder.0": (HIDDEN, LATENT), "decoder.out": (INPUT, HIDDEN),
    })
    x, eps = rng.uniform(size=(BATCH, INPUT)), rng.normal(size=(BATCH, samples, LATENT))
    print(name, write_with(folder / f"{name}.safetensors", case, gradients, params, x, eps))
