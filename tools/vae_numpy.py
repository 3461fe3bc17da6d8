"""A trained model in numpy: the encoder and decoder of a run directory, from config.json and model.safetensors.

    from vae_numpy import Vae
    vae = Vae("runs/digits")
    mu, logvar = vae.encode(x)        # x: (N, input + condition), z ~ N(mu, exp(logvar))
    mean = vae.decode(mu)             # of p(x|z); z: (N, latent + condition)
    deviation = vae.deviations(mu)    # the standard deviations of p(x|z)

x, a condition and the mean are in the units of the file: what --scale did to the columns is done and undone here. Of a model
without --scale whose config says "bytes": "grey", they are byte / 255. Of a model of --missing allow, NaN is a value that is
missing. Of a model of counts x is the counts; their probability is scipy.stats.nbinom.pmf(x, r, r / (r + mean)) with
r = exp(-vae.params["decoder.logdispersion"]). Where columns have different likelihoods, which are vae.likelihoods, that tensor
has a number for each column, of a Gaussian one the log-variance. A column of words is as many columns as it has words, of which
one is 1, of the mean their probabilities; vae.config["data"]["columns"]["words"] has the words. Of a multinomial, and of
--size-factor total, the mean is the shares of one total: times that total it is the mean of counts.

Needs numpy and safetensors. The same names load into torch.nn.Linear: `torch_layers` below does it.
"""
import json
import os

import numpy as np
from safetensors.numpy import load_file

sigmoid = lambda a: 0.5 * (1 + np.tanh(a / 2))
ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": sigmoid,
    "softplus": lambda a: np.logaddexp(0, a),
    "gelu": lambda a: 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3))),
}


class Vae:
    def __init__(self, run):
        self.config = json.load(open(os.path.join(run, "config.json")))
        self.params = load_file(os.path.join(run, "model.safetensors"))
        self.likelihoods = np.array([self.config["likelihood"]] * self.config["input"], dtype=object)
        for likelihood, first, end in self.config.get("others", []):
            self.likelihoods[first:end] = likelihood
        # Columns that are the words of one variable.
        own, input = self.config.get("others", []), self.config["input"]
        self.words = [(first, end) for likelihood, first, end in own if likelihood == "categorical"]
        if self.config["likelihood"] == "categorical":
            ends = [0, *(at for _, first, end in own for at in (first, end)), input]
            self.words += [(first, end) for first, end in zip(ends[::2], ends[1::2]) if first < end]
        if self.config["likelihood"] == "multinomial" or self.config.get("size_factor") == "total":
            self.words = [(0, input)]
        self.of_counts = np.isin(self.likelihoods.astype(str), ["poisson", "negative-binomial", "multinomial"])
        self.f = ACTIVATIONS[self.config["activation"]]
        scale = self.config["data"].get("scale") or {"shift": [], "factor": []}
        self.shift, self.factor = np.array(scale["shift"]), np.array(scale["factor"])

    def linear(self, name, x):
        return x @ self.params[name + ".weight"].T + self.params[name + ".bias"]

    def hidden(self, part, x):
        for i in range(len(self.config["hidden"])):
            x = self.f(self.linear(f"{part}.{i}", x))
        return x

    def scaled(self, x, first):
        """Columns from `first` on as the model sees them. Classes, behind all that are scaled, stay."""
        shift, factor = self.shift[first:], self.factor[first:]
        n = min(len(shift), x.shape[1])
        return np.concatenate([(x[:, :n] - shift[:n]) / factor[:n], x[:, n:]], axis=1)

    def encode(self, x):
        x = self.scaled(x, 0)
        if self.config.get("missing") == "allow":
            x = np.nan_to_num(x, nan=0.0)
        counts = np.flatnonzero(self.of_counts)
        x[:, counts] = np.log1p(x[:, counts])
        h = self.hidden("encoder", x)
        return self.linear("encoder.mu", h), self.linear("encoder.logvar", h)

    def decode(self, z):
        input = self.config["input"]
        mean = self.decoded(z)[0]
        return mean * self.factor[:input] + self.shift[:input] if len(self.shift) else mean

    def deviations(self, z):
        input = self.config["input"]
        mean, h = self.decoded(z)
        # Of a Gaussian the log-variance, of a negative binomial the log-dispersion.
        heads = [name for name in ("decoder.out_logvar", "decoder.out_logdispersion") if name + ".weight" in self.params]
        alone = [name for name in ("decoder.logvar", "decoder.logdispersion") if name in self.params]
        spread = np.full(mean.shape, 2 * np.log(self.config["sigma"]))
        learned = np.broadcast_to(self.params[alone[0]], mean.shape) if alone else spread
        head = self.linear(heads[0], h) if heads else spread
        of_head = {"gaussian": self.config["variance"], "negative-binomial": self.config.get("dispersion", "shared")}
        variance = mean * (1 - mean)  # of zeros and ones, and of words
        for likelihood, kind in of_head.items():
            at = self.likelihoods == likelihood
            own = {"fixed": spread, "network": head}.get(kind, learned)[:, at]
            variance[:, at] = np.exp(own) if likelihood == "gaussian" else mean[:, at] + mean[:, at] ** 2 * np.exp(own)
        poisson = self.likelihoods == "poisson"
        variance[:, poisson] = mean[:, poisson]
        return np.sqrt(variance) * (self.factor[:input] if len(self.factor) else 1)

    def decoded(self, z):
        """The mean of p(x|z) as the model sees x, and what the decoder's heads are functions of."""
        latent, input = self.config["latent"], self.config["input"]
        z = np.concatenate([z[:, :latent], self.scaled(z[:, latent:], input)], axis=1)
        h = self.hidden("decoder", z)
        out = self.linear("decoder.out", h)
        squashed = (self.likelihoods == "bernoulli") | (self.config["mean"] == "sigmoid") & (self.likelihoods == "gaussian")
        mean = out.copy()
        mean[:, squashed] = sigmoid(out[:, squashed])
        mean[:, self.of_counts] = np.exp(out[:, self.of_counts])
        for first, end in self.words:
            p = np.exp(out[:, first:end] - out[:, first:end].max(axis=1, keepdims=True))
            mean[:, first:end] = p / p.sum(axis=1, keepdims=True)
        return mean, h


def torch_layers(run):
    """The encoder's hidden layers and mu, and the decoder, as torch.nn.Linear, by name. They take and give scaled columns."""
    import torch
    from safetensors.torch import load_file as load

    params = load(os.path.join(run, "model.safetensors"))
    layers = {}
    for name in [key[: -len(".weight")] for key in params if key.endswith(".weight")]:
        weight = params[name + ".weight"]
        layers[name] = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layers[name].load_state_dict({"weight": weight, "bias": params[name + ".bias"]})
    return layers


def check(run, x, latents, means, deviations):
    """How far encode and decode are from what the program wrote: (largest difference of [mu | logvar], of the mean, of the deviation)."""
    vae = Vae(run)
    x, latents, means, deviations = (np.load(file).astype(np.float64) for file in (x, latents, means, deviations))
    got = np.concatenate(vae.encode(x), axis=1)
    mu = latents[:, : vae.config["latent"]]
    difference = lambda a, b: float(np.max(np.abs(a - b) / np.maximum(1, np.abs(b))))
    return difference(got, latents), difference(vae.decode(mu), means), difference(vae.deviations(mu), deviations)


if __name__ == "__main__":
    import sys

    print(*check(*sys.argv[1:6]))
