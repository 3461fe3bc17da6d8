"""What the scripts that write golden cases with jax share: the bound, the weights, the file. Not a script itself."""
import json

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

jax.config.update("jax_enable_x64", True)


def minus_bound(nll, kl, z, logvar, eps, case):
    """The mean over the batch of minus the bound, and (nll, kl, bound) of each example."""
    if case["objective"] == "iwae":
        ratio = 0.5 * jnp.sum(z**2 - logvar[:, None] - eps**2, axis=2)
        bound = jax.nn.logsumexp(-nll - ratio, axis=1) - jnp.log(nll.shape[1])
        return -jnp.mean(bound), (nll, kl, bound)
    bound = -jnp.mean(nll, axis=1) - case["beta"] * kl
    return -jnp.mean(bound), (nll, kl, bound)


def weights(rng, layers):
    """Weights and biases of layers {name: (rows, cols)}."""
    params = {}
    for layer, (rows, cols) in layers.items():
        params[layer + ".weight"] = rng.uniform(-1, 1, (rows, cols)) / np.sqrt(cols)
        params[layer + ".bias"] = rng.uniform(-0.5, 0.5, rows)
    return params


def write(path, case, loss, params, x, eps):
    """A case file: what goes in, and what comes of it with all gradients. The loss."""
    return write_with(path, case, jax.value_and_grad(loss, has_aux=True), params, x, eps)


def write_with(path, case, gradients, params, x, eps):
    """The same of gradients that are not those of the loss."""
    (value, (nll, kl, bound)), grads = gradients(params, x, eps, case)
    tensors = {"x": x, "eps": eps, "out.nll": nll, "out.kl": kl, "out.bound": bound, "out.loss": value[None]}
    tensors |= {f"param.{key}": v for key, v in params.items()} | {f"grad.{key}": v for key, v in grads.items()}
    save_file({key: np.ascontiguousarray(v, dtype=np.float64) for key, v in tensors.items()}, path,
              metadata={"config": json.dumps(case)})
    return float(value)
