#!/usr/bin/env python3
"""Training steps of the same variational autoencoders in PyTorch and in JAX, timed beside vae-gpu.

The work is ours: the same shapes, batch, precision of matrix products, Adam, one eps per latent dimension and sample,
the data set resident on the device as bytes, gathered by a permutation made there, scaled by 1/255, binarised anew where
the preset says so. Each framework runs in its own process, in every mode that could be its best; rounds interleave all
of them with our own figure, so that a drift of the machine meets all alike. First, the loss on the golden cases has to
agree. Compilation and warm-up are not timed.

    tools/peers.py --preset aevb --device cpu --ours "target/release/vae-gpu bench --model aevb --device cpu --json"
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PRESETS = {
    "aevb": dict(input=784, hidden=[500], latent=20, activation="relu", objective="elbo", samples=1, batch=100,
                 binarize=False),
    "iwae": dict(input=784, hidden=[200, 200], latent=50, activation="tanh", objective="iwae", samples=5, batch=20,
                 binarize=True),
    "wide": dict(input=4096, hidden=[4096, 4096], latent=256, activation="relu", objective="elbo", samples=1,
                 batch=8192, binarize=False),
}  # fmt: skip
# The most important first: the budget may not reach the last. torch:graph-autotune, whose search takes minutes and finds
# what cuBLAS has, runs if named in --only.
MODES = {
    "cuda": ["torch:graph", "jax:scan", "torch:compile", "torch:eager", "torch:graph8", "jax:scan4", "jax:jit",
             "torch:reduce-overhead", "jax:scan8"],
    "cpu": ["jax:scan", "torch:compile", "torch:eager", "jax:scan4", "jax:jit", "jax:scan8"],
}  # fmt: skip
ADAM = dict(lr=1e-3, b1=0.9, b2=0.999, eps=1e-8)
GOLDEN = ["elbo_bernoulli_relu", "elbo_bernoulli_grey_k3", "iwae_k5_deep"]
EXAMPLES = 60_000


def shapes(m):
    """(out, in) of every layer; the heads of mu and logvar are one matrix, as in ours."""
    down = [m["input"], *m["hidden"]]
    up = [m["latent"], *reversed(m["hidden"]), m["input"]]
    layers = list(zip(down[1:], down)) + [(2 * m["latent"], down[-1])]
    return layers + list(zip(up[1:], up))


def golden_case(name):
    """The config of a case file, its layers as numpy, x, eps, and the loss of the independent implementation."""
    import numpy as np
    from safetensors import safe_open

    path = Path(__file__).resolve().parent.parent / "tests" / "golden" / f"{name}.safetensors"
    with safe_open(path, framework="np") as f:
        config, t = json.loads(f.metadata()["config"]), {k: f.get_tensor(k).astype("float32") for k in f.keys()}
    n = len(config["hidden"])
    names = [[f"encoder.{i}"] for i in range(n)] + [["encoder.mu", "encoder.logvar"]]
    names += [[f"decoder.{i}"] for i in range(n)] + [["decoder.out"]]
    layers = [tuple(np.concatenate([t[f"param.{p}.{w}"] for p in ps]) for w in ("weight", "bias")) for ps in names]
    return config, layers, t["x"], t["eps"], float(t["out.loss"].reshape(-1)[0])


class Torch:
    """Modes of PyTorch. A mode is a function that runs n steps and waits for them."""

    def __init__(self, m, device, precision):
        import torch

        self.torch, self.m, self.device = torch, m, device
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        self.half = precision == "bf16"
        torch._dynamo.config.cache_size_limit = 64
        torch.manual_seed(0)
        self.data = torch.randint(0, 256, (EXAMPLES, m["input"]), dtype=torch.uint8, device=device)
        self.version = f"PyTorch {torch.__version__}"

    def loss(self, m, layers, x, eps):
        torch, F = self.torch, self.torch.nn.functional
        act = {"relu": torch.relu, "tanh": torch.tanh, "softplus": F.softplus}[m["activation"]]

        def linear(x, layer):
            if self.half:
                return F.linear(x.bfloat16(), layer[0].bfloat16(), layer[1].bfloat16())
            return F.linear(x, *layer)

        n, k, h = len(m["hidden"]), eps.shape[1], x
        for layer in layers[:n]:
            h = act(linear(h, layer))
        mu, logvar = linear(h, layers[n]).float().chunk(2, 1)
        z = mu[:, None] + torch.exp(0.5 * logvar)[:, None] * eps
        h = z.flatten(0, 1)
        for layer in layers[n + 1 : -1]:
            h = act(linear(h, layer))
        logits = linear(h, layers[-1]).float().view(x.shape[0], k, -1)
        target = x[:, None].expand_as(logits)
        nll = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(2)
        if m["objective"] == "iwae":
            ratio = 0.5 * (z * z - logvar[:, None] - eps * eps).sum(2)
            return -(torch.logsumexp(-nll - ratio, 1) - math.log(k)).mean()
        kl = 0.5 * (mu * mu + torch.exp(logvar) - 1 - logvar).sum(1)
        return nll.mean() + m.get("beta", 1.0) * kl.mean()

    def golden(self, name):
        config, layers, x, eps, want = golden_case(name)
        to = lambda a: self.torch.tensor(a, device=self.device)
        half, self.half = self.half, False
        precision = self.torch.get_float32_matmul_precision()
        self.torch.set_float32_matmul_precision("highest")
        got = self.loss(config, [tuple(map(to, layer)) for layer in layers], to(x), to(eps)).item()
        self.torch.set_float32_matmul_precision(precision)
        self.half = half
        return abs(got - want) / abs(want)

    def prepare(self, mode):
        torch, m, dev, batch = self.torch, self.m, self.device, self.m["batch"]
        layers = []
        for out, inputs in shapes(m):
            w = (torch.rand(out, inputs, device=dev) * 2 - 1) / math.sqrt(inputs)
            layers.append((w.requires_grad_(), torch.zeros(out, device=dev, requires_grad=True)))
        cuda, captured = dev == "cuda", mode.startswith("graph")
        params = [p for layer in layers for p in layer]
        betas = (ADAM["b1"], ADAM["b2"])
        adam = torch.optim.Adam(params, lr=ADAM["lr"], betas=betas, eps=ADAM["eps"], fused=True, capturable=cuda)
        data, rest = self.data, EXAMPLES // batch * batch

        def batch_loss(index):
            x = data[index].float() / 255
            if m["binarize"]:
                x = (torch.rand_like(x) < x).float()
            eps = torch.randn(batch, m["samples"], m["latent"], device=dev)
            return self.loss(m, layers, x, eps)

        if mode == "reduce-overhead":
            batch_loss = torch.compile(batch_loss, mode="reduce-overhead")
        elif mode == "graph-autotune":
            batch_loss = torch.compile(batch_loss, mode="max-autotune-no-cudagraphs")
        elif mode != "eager":
            batch_loss = torch.compile(batch_loss)
        order = torch.randperm(EXAMPLES, device=dev)
        last = {}

        def step(index):
            if mode == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            loss = batch_loss(index)
            loss.backward()
            adam.step()
            adam.zero_grad(set_to_none=True)
            last["loss"] = loss

        if not captured:
            position = [0]

            def run(n):
                for _ in range(n):
                    if position[0] == rest:
                        order.copy_(torch.randperm(EXAMPLES, device=dev))
                        position[0] = 0
                    step(order[position[0] : position[0] + batch])
                    position[0] += batch
                value = last["loss"].item()
                assert math.isfinite(value), f"loss {value}"

            return run

        # The whole step in one graph: the position in the epoch is a number on the device.
        steps = 8 if mode == "graph8" else 1
        position, rows = torch.zeros((), dtype=torch.int64, device=dev), torch.arange(batch, device=dev)

        def whole():
            step(order[position + rows])
            position.add_(batch).remainder_(rest)

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(5):
                whole()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(steps):
                whole()
        done = [0]

        def run(n):
            for _ in range(n // steps):
                graph.replay()
                done[0] += steps * batch
                if done[0] >= rest:
                    order.copy_(torch.randperm(EXAMPLES, device=dev))
                    done[0] = 0
            value = last["loss"].item()
            assert math.isfinite(value), f"loss {value}"

        return run

    def memory(self):
        return self.torch.cuda.max_memory_allocated() if self.device == "cuda" else None


class Jax:
    """Modes of JAX: a step at a time, or a scan over many steps with the state donated."""

    def __init__(self, m, device, precision):
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp, self.m, self.half = jax, jnp, m, precision == "bf16"
        platform = jax.devices()[0].platform
        if (platform == "gpu") != (device == "cuda"):
            raise RuntimeError(f"JAX has no {device} here, only {platform}")
        names = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "default"}
        jax.config.update("jax_default_matmul_precision", names[precision])
        self.data = jax.random.randint(jax.random.key(0), (EXAMPLES, m["input"]), 0, 256).astype(jnp.uint8)
        self.version = f"JAX {jax.__version__}"

    def loss(self, m, layers, x, eps):
        jax, jnp = self.jax, self.jnp
        act = {"relu": jax.nn.relu, "tanh": jnp.tanh, "softplus": jax.nn.softplus}[m["activation"]]

        def linear(x, layer):
            w, b = layer
            if self.half:
                x, w, b = (a.astype(jnp.bfloat16) for a in (x, w, b))
            return x @ w.T + b

        n, k, h = len(m["hidden"]), eps.shape[1], x
        for layer in layers[:n]:
            h = act(linear(h, layer))
        mu, logvar = jnp.split(linear(h, layers[n]).astype(jnp.float32), 2, 1)
        z = mu[:, None] + jnp.exp(0.5 * logvar)[:, None] * eps
        h = z.reshape(-1, z.shape[2])
        for layer in layers[n + 1 : -1]:
            h = act(linear(h, layer))
        logits = linear(h, layers[-1]).astype(jnp.float32).reshape(x.shape[0], k, -1)
        # As optax has it: finite for every logit.
        nll = (jnp.maximum(logits, 0) - logits * x[:, None] + jnp.log1p(jnp.exp(-jnp.abs(logits)))).sum(2)
        if m["objective"] == "iwae":
            ratio = 0.5 * (z * z - logvar[:, None] - eps * eps).sum(2)
            return -(jax.nn.logsumexp(-nll - ratio, 1) - math.log(k)).mean()
        kl = 0.5 * (mu * mu + jnp.exp(logvar) - 1 - logvar).sum(1)
        return nll.mean() + m.get("beta", 1.0) * kl.mean()

    def golden(self, name):
        config, layers, x, eps, want = golden_case(name)
        half, self.half = self.half, False
        with self.jax.default_matmul_precision("highest"):
            got = float(self.loss(config, layers, x, eps))
        self.half = half
        return abs(got - want) / abs(want)

    def prepare(self, mode):
        jax, jnp, m, batch = self.jax, self.jnp, self.m, self.m["batch"]
        key, layers = jax.random.key(1), []
        for i, (out, inputs) in enumerate(shapes(m)):
            w = jax.random.uniform(jax.random.fold_in(key, i), (out, inputs), minval=-1) / math.sqrt(inputs)
            layers.append((w, jnp.zeros(out)))
        zeros = lambda: jax.tree.map(jnp.zeros_like, layers)
        state = (layers, zeros(), zeros(), jnp.zeros(()), key)

        def step(state, data, index):
            layers, m1, m2, t, key = state
            key, for_eps, for_x = jax.random.split(key, 3)
            x = data[index].astype(jnp.float32) / 255
            if m["binarize"]:
                x = (jax.random.uniform(for_x, x.shape) < x).astype(jnp.float32)
            eps = jax.random.normal(for_eps, (batch, m["samples"], m["latent"]))
            loss, grads = jax.value_and_grad(lambda p: self.loss(m, p, x, eps))(layers)
            t = t + 1
            m1 = jax.tree.map(lambda m, g: ADAM["b1"] * m + (1 - ADAM["b1"]) * g, m1, grads)
            m2 = jax.tree.map(lambda v, g: ADAM["b2"] * v + (1 - ADAM["b2"]) * g * g, m2, grads)
            rate, root = ADAM["lr"] / (1 - ADAM["b1"] ** t), 1 / jnp.sqrt(1 - ADAM["b2"] ** t)
            move = lambda w, m, v: w - rate * m / (jnp.sqrt(v) * root + ADAM["eps"])
            return (jax.tree.map(move, layers, m1, m2), m1, m2, t, key), loss

        def shuffle(key):
            return jax.random.permutation(key, EXAMPLES)[: EXAMPLES // batch * batch].reshape(-1, batch)

        held = {"state": state, "seed": 0}
        if mode == "jit":

            def one(state, data, order, i):
                state, loss = step(state, data, order[i])
                return state, loss, (i + 1) % order.shape[0]

            one, shuffle = jax.jit(one, donate_argnums=(0, 3)), jax.jit(shuffle)
            held |= {"i": jnp.zeros((), jnp.int32), "order": shuffle(key)}

            def run(n):
                for _ in range(n):
                    held["state"], loss, held["i"] = one(held["state"], self.data, held["order"], held["i"])
                assert math.isfinite(float(loss)), f"loss {loss}"

            return run

        unroll = int(mode.removeprefix("scan") or 1)

        # Steps a call: an epoch, or where a caller asks for fewer, those.
        def epoch(state, data, key, n):
            return jax.lax.scan(lambda s, i: step(s, data, i), state, shuffle(key)[:n], unroll=unroll)

        epoch = jax.jit(epoch, donate_argnums=0, static_argnums=3)
        chunk = max(8, min(EXAMPLES // batch, 600) // 8 * 8) if EXAMPLES // batch >= 8 else EXAMPLES // batch

        def run(n):
            for _ in range(max(1, n // chunk)):
                held["seed"] += 1
                held["state"], losses = epoch(held["state"], self.data, jax.random.key(held["seed"]), chunk)
            assert math.isfinite(float(losses[-1])), "loss is not finite"

        run.chunk = chunk
        return run

    def memory(self):
        stats = self.jax.devices()[0].memory_stats()
        return stats and stats.get("peak_bytes_in_use")


def work(framework, m, device, precision):
    """A worker: requests and answers are lines of JSON."""
    answers, sys.stdout = sys.stdout, sys.stderr
    peer, modes = None, {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "open":
                peer = {"torch": Torch, "jax": Jax}[framework](m, device, precision)
                answer = {"version": peer.version, "errors": {name: peer.golden(name) for name in GOLDEN}}
            elif request["do"] == "prepare":
                start = time.perf_counter()
                run = modes[request["mode"]] = peer.prepare(request["mode"])
                run(8)  # compiles
                compiled, start = time.perf_counter() - start, time.perf_counter()
                n = getattr(run, "chunk", 8)
                run(n)
                answer = {"compile_s": compiled, "us": 1e6 * (time.perf_counter() - start) / n}
            else:
                run, n = modes[request["mode"]], request["steps"]
                n = max(1, n // run.chunk) * run.chunk if hasattr(run, "chunk") else max(8, n // 8 * 8)
                start = time.perf_counter()
                run(n)
                answer = {"us": 1e6 * (time.perf_counter() - start) / n}
            import resource

            answer["bytes"] = peer.memory() or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        except ImportError as e:
            answer = {"missing": f"{framework} is not installed here: {e}"}
        except Exception as e:  # noqa: BLE001: a mode that fails is reported, the others go on
            answer = {"error": f"{type(e).__name__}: {str(e).strip().splitlines()[0] if str(e).strip() else ''}"}
        print(json.dumps(answer), file=answers, flush=True)


class Worker:
    def __init__(self, framework, argv):
        env = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        if "--device=cpu" in argv:
            env |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        command = [sys.executable, __file__, "--worker", framework, *argv]
        self.chatter = tempfile.TemporaryFile("w+")  # warnings of the frameworks, shown if the worker dies
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.chatter)
        self.process = subprocess.Popen(command, text=True, env=env, **pipes)

    def ask(self, limit, **request):
        """The answer, or an error after `limit` seconds, which end the worker."""
        timer = threading.Timer(max(limit, 1), self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        timer.cancel()
        if line:
            return json.loads(line)
        if self.process.wait() == -9:
            return {"error": f"not done within {limit:.0f} s; this worker has ended"}
        self.chatter.seek(0)
        return {"error": f"the worker ended: {self.chatter.read()[-300:].strip()}"}

    def close(self):
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()


def ours(command):
    """us per step by our own bench: its last line that is JSON."""
    lines = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout.splitlines()
    return json.loads([line for line in lines if line.startswith("{")][-1])["us_per_step"]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--preset", choices=PRESETS, default="aevb")
    p.add_argument("--batch", type=int, help="examples a step (the preset's)")
    p.add_argument("--samples", type=int, help="K (the preset's)")
    p.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    p.add_argument("--device", choices=["cpu", "cuda"], default="cuda")
    p.add_argument("--repeats", type=int, default=7, help="rounds, each with all modes")
    p.add_argument("--seconds", type=float, default=1.0, help="of one mode in one round")
    p.add_argument("--budget", type=float, default=600.0, help="seconds for everything")
    p.add_argument("--only", help="modes, as torch:graph,jax:scan")
    p.add_argument("--ours", help="a command that prints a line of JSON with us_per_step")
    p.add_argument("--json", action="store_true", help="one line of JSON for each mode")
    p.add_argument("--worker", choices=["torch", "jax"], help=argparse.SUPPRESS)
    args = p.parse_args()

    m = dict(PRESETS[args.preset])
    m |= {k: v for k, v in [("batch", args.batch), ("samples", args.samples)] if v}
    if not 0 < m["batch"] <= EXAMPLES:
        p.error(f"--batch {m['batch']}: must be from 1 to {EXAMPLES}")
    if args.worker:
        return work(args.worker, m, args.device, args.precision)

    start, note = time.monotonic(), lambda s: print(s, file=sys.stderr, flush=True)
    left = lambda: args.budget - (time.monotonic() - start)
    wanted = args.only.split(",") if args.only else MODES[args.device]
    argv = [f"--preset={args.preset}", f"--batch={m['batch']}", f"--samples={m['samples']}",
            f"--precision={args.precision}", f"--device={args.device}"]  # fmt: skip
    workers = {}
    for framework in dict.fromkeys(mode.split(":")[0] for mode in wanted):
        worker = Worker(framework, argv)
        answer = worker.ask(left() / 2, do="open")
        if problem := answer.get("missing") or answer.get("error"):
            note(problem if "missing" in answer else f"{framework}: {problem}")
            worker.close()
            continue
        for name, error in answer["errors"].items():
            if not error < 1e-5:
                sys.exit(f"{framework}: {name}: the loss is off by {error:.1e}: this is not the same work")
        note(f"{answer['version']}: the loss agrees on {len(GOLDEN)} golden cases")
        workers[framework] = worker

    # Half of the budget may go into compiling; the rounds get the rest.
    speed, found = {}, {}
    for mode in wanted:
        framework, name = mode.split(":")
        if framework not in workers:
            continue
        limit = left() - args.budget / 2
        if limit < 5:
            note(f"{mode}: left out, the budget of {args.budget:.0f} s does not reach it")
            continue
        answer = workers[framework].ask(limit, do="prepare", mode=name)
        if "error" in answer:
            note(f"{mode}: {answer['error']}")
            continue
        speed[mode], found[mode] = answer["us"], answer | {"us": []}
        note(f"{mode}: ready in {answer['compile_s']:.1f} s")
    if args.ours:
        found["ours"] = {"us": [], "bytes": None}
    for turn in range(args.repeats):
        if turn and left() < 1.2 * round_s:
            note(f"{turn} rounds of {args.repeats}: the budget of {args.budget:.0f} s is spent")
            break
        began = time.monotonic()
        for mode, entry in list(found.items()):
            if mode == "ours":
                entry["us"].append(ours(args.ours))
                continue
            framework, name = mode.split(":")
            steps = max(1, int(args.seconds * 1e6 / speed[mode]))
            answer = workers[framework].ask(left(), do="run", mode=name, steps=steps)
            if "error" in answer:
                note(f"{mode}: {answer['error']}")
                del found[mode]
                continue
            entry["us"].append(answer["us"])
            entry["bytes"], speed[mode] = answer["bytes"], answer["us"]
        round_s = time.monotonic() - began
    for worker in workers.values():
        worker.close()

    rows = []
    for mode, entry in found.items():
        if not entry["us"]:
            continue
        us = sorted(entry["us"])
        low, middle, high = statistics.quantiles(us, n=4, method="inclusive") if len(us) > 1 else us * 3
        rows.append({"mode": mode, "preset": args.preset, "batch": m["batch"], "samples": m["samples"],
                     "device": args.device, "precision": args.precision, "us_per_step": middle, "us_p25": low,
                     "us_p75": high, "examples_per_s": m["batch"] * 1e6 / middle, "rounds": len(us),
                     "bytes": entry["bytes"]})  # fmt: skip
    rows.sort(key=lambda row: row["us_per_step"])
    if args.json:
        for row in rows:
            print(json.dumps(row))
        return
    print(f"{args.preset}, batch {m['batch']}, K = {m['samples']}, {args.precision}, {args.device}: medians (quartiles)")
    base = next((row["us_per_step"] for row in rows if row["mode"] == "ours"), None)
    for row in rows:
        b = m["batch"] * 1e6
        text = f"{row['mode']:22} {row['examples_per_s']:12,.0f} examples/s ({b / row['us_p75']:,.0f} to "
        text += f"{b / row['us_p25']:,.0f}), {row['us_per_step']:,.1f} us a step"
        text += f", {row['bytes'] / 2**20:,.0f} MiB" if row["bytes"] else ""
        text += f", ours is {row['us_per_step'] / base:.2f} x" if base and row["mode"] != "ours" else ""
        print(text)


if __name__ == "__main__":
    main()
