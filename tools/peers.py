#!/usr/bin/env python3
"""The same training step in PyTorch and in JAX, each in its best mode, beside ours, in one run.

    tools/peers.py --preset aevb --batch 100 --device cuda --precision tf32 \\
        --ours "target/release/vae-gpu bench --preset aevb --batch 100 --device cuda --precision tf32 --json"

The work is the same: bytes resident on the device (random, or those of --data, which --ours then has too), a shuffled
batch gathered there and scaled (binarised anew for the preset iwae), fresh noise, the same bound, Adam with the same
constants. Before anything is timed, each peer computes the loss of a golden case. Modes of a peer are interleaved; a
figure is the median of its repeats, with quartiles.
A peer that is not installed is named in one sentence. Rows: best first.
"""
import argparse
import functools
import gzip
import json
import math
import os
import pathlib
import select
import shlex
import statistics
import subprocess
import sys
import time

PRESETS = {  # input, hidden, latent, activation, objective, binarise
    "aevb": (784, [500], 20, "relu", "elbo", False),
    "iwae": (784, [200, 200], 50, "tanh", "iwae", True),
    "wide": (4096, [4096, 4096], 256, "relu", "elbo", False),
    "small": (64, [64], 8, "relu", "elbo", False),
}
TORCH_CUDA = ["compile+graph", "reduce-overhead", "graph", "eager", "compile"]  # graph: the whole step in one
TORCH_CPU = ["compile", "eager"]
JAX = ["scan-1", "scan-4", "scan-8", "jit"]  # lax.scan over many steps, unrolled; jit of one
LR, BETAS, EPS = 1e-3, (0.9, 0.999), 1e-8


def shapes(preset):
    """(name, out, in) of every layer; the heads mu and logvar are one product, as ours."""
    inputs, hidden, latent = PRESETS[preset][:3]
    there = [inputs, *hidden]
    back = [latent, *hidden[::-1], inputs]
    layers = [(f"encoder.{i}", o, n) for i, (n, o) in enumerate(zip(there, there[1:]))]
    layers.append(("head", 2 * latent, there[-1]))
    layers += [(f"decoder.{i}", o, n) for i, (n, o) in enumerate(zip(back, back[1:]))]
    return layers


class Clock:
    """Calls run(steps), which waits for the device, for about `seconds`; microseconds a step."""

    def __init__(self, run, seconds):
        self.run, self.seconds, self.unit = run, seconds, getattr(run, "chunk", 1)
        self.steps = max(16, self.unit)
        busy = time.perf_counter()
        while time.perf_counter() - busy < 0.5:  # clocks rise, caches fill, graphs are captured
            self.repeat()

    def repeat(self):
        start = time.perf_counter()
        self.run(self.steps)
        each = (time.perf_counter() - start) / self.steps
        self.steps = max(16, math.ceil(self.seconds / each / self.unit) * self.unit)
        return each * 1e6


# ---------------------------------------------------------------------------------------------------------- PyTorch


def torch_forward(torch, p, x, eps, activation, objective, heads):
    """Loss of x (B, D) with eps (B, K, Z); p: list of (weight, bias). `heads`: where the [mu | logvar] layer is."""
    F = torch.nn.functional
    act = {"relu": F.relu, "tanh": torch.tanh}[activation]
    h = x
    for w, b in p[:heads]:
        h = act(F.linear(h, w, b))
    mu, logvar = F.linear(h, *p[heads]).float().chunk(2, dim=-1)
    z = mu[:, None] + torch.exp(0.5 * logvar)[:, None] * eps
    h = z
    for w, b in p[heads + 1 : -1]:
        h = act(F.linear(h, w, b))
    logits = F.linear(h, *p[-1]).float()
    nll = (F.softplus(logits) - x[:, None] * logits).sum(-1)  # (B, K)
    if objective == "elbo":
        kl = 0.5 * (logvar.exp() + mu * mu - 1 - logvar).sum(-1)
        return (nll.mean(1) + kl).mean()
    ratio = 0.5 * (z * z - logvar[:, None] - eps * eps).sum(-1)
    return -(torch.logsumexp(-nll - ratio, 1) - math.log(eps.shape[1])).mean()


class Torch:
    def __init__(self, args):
        import torch

        self.torch, self.args = torch, args
        torch.manual_seed(0)
        self.dev = torch.device(args.device)
        torch.set_float32_matmul_precision("high" if args.precision == "tf32" else "highest")
        self.inputs, _, self.latent, self.activation, self.objective, self.binarise = PRESETS[args.preset]
        self.heads = len(PRESETS[args.preset][1])
        random = lambda: torch.randint(0, 256, (args.rows, self.inputs), dtype=torch.uint8)
        self.data = (random() if args.examples is None else torch.from_numpy(args.examples)).to(self.dev)
        self.version = f"torch {torch.__version__}"

    def sync(self):
        if self.dev.type == "cuda":
            self.torch.cuda.synchronize()

    def fresh(self, capturable):
        torch = self.torch
        params = []
        for _, o, n in shapes(self.args.preset):
            w = (torch.randn(o, n, device=self.dev) * math.sqrt(2 / (o + n))).requires_grad_()
            params.append((w, torch.zeros(o, device=self.dev, requires_grad=True)))
        flat = [t for pair in params for t in pair]
        kind = dict(capturable=True) if capturable else {}
        adam = torch.optim.Adam(flat, lr=LR, betas=BETAS, eps=EPS, fused=True, **kind)
        return params, adam

    def loss(self, params, index):
        torch, a = self.torch, self.args
        x = self.data[index].float() / 255
        if self.binarise:
            x = (torch.rand_like(x) < x).float()
        eps = torch.randn(a.batch, a.samples, self.latent, device=self.dev)
        with torch.autocast(self.dev.type, torch.bfloat16, enabled=a.precision == "bf16"):
            return torch_forward(torch, params, x, eps, self.activation, self.objective, self.heads)

    def runner(self, mode):
        torch, batch, n = self.torch, self.args.batch, self.args.rows
        graphed = mode in ("graph", "compile+graph")
        params, adam = self.fresh(capturable=graphed or mode == "reduce-overhead")
        loss = functools.partial(self.loss, params)
        if mode in ("compile", "reduce-overhead", "compile+graph"):
            loss = torch.compile(loss, mode="reduce-overhead" if mode == "reduce-overhead" else None)
        # The order of an epoch, and where in it the step is: on the device, so that a graph moves on by itself.
        order = torch.randperm(n, device=self.dev)
        at = torch.zeros((), dtype=torch.int64, device=self.dev)
        within = torch.arange(batch, device=self.dev)

        def step():
            index = order[(at + within) % n]
            at.add_(batch)
            adam.zero_grad(set_to_none=not graphed)
            loss(index).backward()
            adam.step()

        advance = step
        if graphed:  # the whole step in one CUDA graph
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(4):
                    step()
            torch.cuda.current_stream().wait_stream(side)
            self.sync()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                step()
            advance = graph.replay
        done = 0

        def run(steps):
            nonlocal done
            for _ in range(steps):
                advance()
                done += 1
                if done % (n // batch) == 0:  # a new epoch
                    order.copy_(torch.randperm(n, device=self.dev))
            self.sync()
        return run

    def modes(self):
        return {m: functools.partial(self.runner, m) for m in TORCH_CUDA}

    def case_loss(self, case):
        torch = self.torch
        t = lambda a: torch.tensor(a, dtype=torch.float32, device=self.dev)
        params = [(t(w), t(b)) for w, b in case["params"]]
        args = case["activation"], case["objective"], case["heads"]
        with torch.no_grad():
            return float(torch_forward(torch, params, t(case["x"]), t(case["eps"]), *args))


# -------------------------------------------------------------------------------------------------------------- JAX


class Jax:
    def __init__(self, args):
        import jax
        import jax.numpy as jnp

        self.jax, self.jnp, self.args = jax, jnp, args
        self.dev = jax.devices("gpu" if args.device == "cuda" else "cpu")[0]
        jax.config.update("jax_default_device", self.dev)
        precision = {"fp32": "highest", "tf32": "tensorfloat32", "bf16": "bfloat16"}[args.precision]
        jax.config.update("jax_default_matmul_precision", "highest" if args.device == "cpu" else precision)
        self.inputs, _, self.latent, self.activation, self.objective, self.binarise = PRESETS[args.preset]
        self.heads = len(PRESETS[args.preset][1])
        self.version = f"jax {jax.__version__}"

    def forward(self, p, x, eps, activation, objective, heads):
        jax, jnp = self.jax, self.jnp
        act = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
        half = self.args.precision == "bf16" and self.args.device == "cuda"

        def linear(h, layer):
            w, b = layer
            if half:
                h, w = h.astype(jnp.bfloat16), w.astype(jnp.bfloat16)
            dims = (((h.ndim - 1,), (1,)), ((), ()))
            return jax.lax.dot_general(h, w, dims, preferred_element_type=jnp.float32) + b

        h = x
        for layer in p[:heads]:
            h = act(linear(h, layer))
        mu, logvar = jnp.split(linear(h, p[heads]), 2, axis=-1)
        z = mu[:, None] + jnp.exp(0.5 * logvar)[:, None] * eps
        h = z
        for layer in p[heads + 1 : -1]:
            h = act(linear(h, layer))
        logits = linear(h, p[-1])
        nll = (jax.nn.softplus(logits) - x[:, None] * logits).sum(-1)
        if objective == "elbo":
            kl = 0.5 * (jnp.exp(logvar) + mu * mu - 1 - logvar).sum(-1)
            return (nll.mean(1) + kl).mean()
        ratio = 0.5 * (z * z - logvar[:, None] - eps * eps).sum(-1)
        return -(jax.nn.logsumexp(-nll - ratio, axis=1) - math.log(eps.shape[1])).mean()

    def setup(self):
        jax, jnp, a = self.jax, self.jnp, self.args
        key = jax.random.key(0)
        random = lambda: jax.random.randint(key, (a.rows, self.inputs), 0, 256, dtype=jnp.uint8)
        data = random() if a.examples is None else jnp.asarray(a.examples)
        params = [(jax.random.normal(jax.random.fold_in(key, i), (o, n)) * math.sqrt(2 / (o + n)), jnp.zeros(o))
                  for i, (_, o, n) in enumerate(shapes(a.preset))]
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        order = jax.random.permutation(key, a.rows)
        per_epoch = a.rows // a.batch

        def step(state, _):
            params, m, v, t, key, order = state
            key, noise, coin, mix = jax.random.split(key, 4)
            at = t % per_epoch
            order = jax.lax.cond(at == 0, lambda: jax.random.permutation(mix, a.rows), lambda: order)
            index = jax.lax.dynamic_slice(order, (at * a.batch,), (a.batch,))
            x = data[index].astype(jnp.float32) / 255
            if self.binarise:
                x = (jax.random.uniform(coin, x.shape) < x).astype(jnp.float32)
            eps = jax.random.normal(noise, (a.batch, a.samples, self.latent))
            args = self.activation, self.objective, self.heads
            loss, g = jax.value_and_grad(self.forward)(params, x, eps, *args)
            t = t + 1
            m = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, m, g)
            v = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, v, g)
            c1, c2 = 1 - BETAS[0] ** t.astype(jnp.float32), 1 - BETAS[1] ** t.astype(jnp.float32)
            new = lambda p, m, v: p - LR * (m / c1) / (jnp.sqrt(v / c2) + EPS)
            return (jax.tree.map(new, params, m, v), m, v, t, key, order), loss

        return step, (params, zeros(), zeros(), jnp.int32(0), key, order)

    def jit_runner(self):
        step, state = self.setup()
        step = self.jax.jit(step, donate_argnums=0)
        box = [state]

        def run(steps):
            for _ in range(steps):
                box[0], loss = step(box[0], None)
            loss.block_until_ready()
        return run

    def scan_runner(self, unroll):
        jax = self.jax
        step, state = self.setup()
        chunk = 128
        many = jax.jit(lambda s: jax.lax.scan(step, s, None, length=chunk, unroll=unroll), donate_argnums=0)
        box = [state]

        def run(steps):  # whole chunks; the clock counts them all
            for _ in range(max(1, round(steps / chunk))):
                box[0], loss = many(box[0])
            loss.block_until_ready()
        run.chunk = chunk
        return run

    def modes(self):
        return {"jit": self.jit_runner} | {f"scan-{u}": functools.partial(self.scan_runner, u) for u in (1, 4, 8)}

    def case_loss(self, case):
        jnp = self.jnp
        t = lambda a: jnp.asarray(a, jnp.float32)
        params = [(t(w), t(b)) for w, b in case["params"]]
        with self.jax.default_matmul_precision("highest"):
            args = case["activation"], case["objective"], case["heads"]
            return float(self.forward(params, t(case["x"]), t(case["eps"]), *args))


# ------------------------------------------------------------------------------------------------------- the same work


def golden(path):
    """A case file as the peers take it; None if it, or a reader, is not there."""
    try:
        import numpy as np
        from safetensors import safe_open
    except ImportError:
        return None
    if not path.exists():
        return None
    with safe_open(path, "np") as f:
        config, t = json.loads(f.metadata()["config"]), {k: f.get_tensor(k) for k in f.keys()}
    layer = lambda name: (t[f"param.{name}.weight"], t[f"param.{name}.bias"])
    hidden = len(config["hidden"])
    (mu_w, mu_b), (lv_w, lv_b) = layer("encoder.mu"), layer("encoder.logvar")
    params = [layer(f"encoder.{i}") for i in range(hidden)]
    params += [(np.concatenate([mu_w, lv_w]), np.concatenate([mu_b, lv_b]))]
    params += [layer(f"decoder.{i}") for i in range(hidden)] + [layer("decoder.out")]
    return dict(x=t["x"], eps=t["eps"], params=params, heads=hidden, activation=config["activation"],
                objective=config["objective"], loss=float(t["out.loss"][0]), name=path.stem)


def examples(path):
    """The bytes of a file, an example a row: an .npy, or an idx, which may be packed by gzip."""
    import numpy as np

    if path.endswith(".npy"):
        x = np.load(path)
    else:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
            head = f.read(4)
            shape = np.frombuffer(f.read(4 * head[3]), ">u4")
            x = np.frombuffer(f.read(), np.uint8).reshape(shape)
    return np.array(x.reshape(len(x), -1), np.uint8)


def ours(command, wanted):
    """Runs our own bench; microseconds a step of the one line that it prints, which is of the work that is `wanted`."""
    out = subprocess.run(shlex.split(command), capture_output=True, text=True)
    lines = [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]
    lines = [line for line in lines if "us_per_step" in line]
    if out.returncode or not lines:
        sys.exit(f"--ours failed: {out.stderr.strip() or 'it printed no JSON'}")
    measured = [{name: line[name] for name in wanted} for line in lines]
    for line in measured:
        line["data"] = "random" if line["data"] == "random" else "given"
    if measured != [wanted]:
        sys.exit(f"--ours measures {measured}, where the others do {[wanted]}: give it the same options, of each one value")
    return lines[0]["us_per_step"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", choices=PRESETS, default="aevb")
    parser.add_argument("--batch", type=int, help="100; iwae: 20; wide: 8192; small: 100")
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--precision", choices=["fp32", "tf32", "bf16"], default="fp32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rows", type=int, default=60000, help="examples in the random data set")
    parser.add_argument("--data", help="their bytes: an .npy, or an idx as those of MNIST; random if not given")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one repeat")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds; what does not fit is left out and named")
    parser.add_argument("--only", help="modes by name, with commas: torch-eager,jax-scan-1")
    parser.add_argument("--ours", help="a command whose JSON has us_per_step")
    parser.add_argument("--golden", default=str(pathlib.Path(__file__).resolve().parent.parent / "tests/golden"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    args.batch = args.batch or {"aevb": 100, "iwae": 20, "wide": 8192, "small": 100}[args.preset]
    began = time.perf_counter()
    say = lambda text: print(text, file=sys.stderr, flush=True)

    if args.child:
        return child(args)
    # Each mode in a process of its own: one that fails takes no other along, and they get ready side by side.
    names = [f"torch-{m}" for m in (TORCH_CUDA if args.device == "cuda" else TORCH_CPU)] + [f"jax-{m}" for m in JAX]
    if args.only:
        names = [n for n in names if n in args.only.split(",")]
    children = {}
    for name in names:
        command = [sys.executable, __file__, *sys.argv[1:], "--child", name]
        children[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                          env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"})
        if args.device == "cpu":  # few cores: one after the other
            answer(children, name, args.budget - (time.perf_counter() - began))
    versions = set()
    for name in list(children):
        if args.device != "cpu":
            answer(children, name, args.budget - (time.perf_counter() - began))
        if name in children:
            versions.add(children[name].version)

    times = {name: [] for name in children} | ({"ours": []} if args.ours else {})
    for repeat in range(args.repeats + 1):
        if repeat > 1 and time.perf_counter() - began > args.budget:
            break
        if args.ours and repeat:
            wanted = {"model": args.preset, "batch": args.batch, "samples": args.samples, "precision": args.precision,
                      "binarize": "dynamic" if PRESETS[args.preset][5] else "none",
                      "data": "given" if args.data else "random"}
            times["ours"].append(ours(args.ours, wanted))
        for name, process in list(children.items()):
            process.stdin.write("go\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                say(f"{name}: ended in the middle")
                del children[name]
            elif repeat:  # the first finds how many steps a repeat has, now that the others rest
                times[name].append(float(line))
    for process in children.values():
        process.stdin.close()
        process.wait()

    rows = [(name, t) for name, t in times.items() if t]
    rows.sort(key=lambda row: statistics.median(row[1]))
    quart = lambda v: statistics.quantiles(v, n=4) if len(v) > 1 else [v[0]] * 3
    mine = statistics.median(times["ours"]) if args.ours else None
    work = f"{args.preset} batch {args.batch} k {args.samples} {args.precision} on {args.device}"
    if not args.json:
        print(f"{work} ({', '.join(sorted(versions))})")
    for name, t in rows:
        low, mid, high = quart(t)
        rate = args.batch / mid * 1e6
        if args.json:
            print(json.dumps(dict(peer=name, preset=args.preset, batch=args.batch, samples=args.samples,
                                  precision=args.precision, device=args.device, us_per_step=mid, us_p25=low,
                                  us_p75=high, examples_per_s=rate, repeats=len(t), times_ours=mine and mid / mine)))
        else:
            beside = f"  {mid / mine:6.2f} x ours" if mine and name != "ours" else ""
            print(f"  {name:<22} {mid:10.1f} us a step [{low:.1f}, {high:.1f}] {rate:14,.0f} examples/s{beside}")


def answer(children, name, seconds):
    """Waits until a child is ready; drops it, with its reason, where it never will be."""
    process = children[name]
    ready, _, _ = select.select([process.stdout], [], [], max(1, seconds))
    line = process.stdout.readline() if ready else "left out, the budget is spent"
    if line.startswith("ready "):
        process.version = line.split(" ", 1)[1].strip()
        return
    print(f"{name}: {line.strip() or 'does not run here'}", file=sys.stderr)
    process.kill()
    del children[name]


def child(args):
    """One mode: prints `ready VERSION`, then the microseconds of a step for every line on stdin."""
    kind, mode = args.child.split("-", 1)
    args.examples = examples(args.data) if args.data else None
    if args.data:  # all of them, as ours takes them
        args.rows = len(args.examples)
    try:
        peer = (Torch if kind == "torch" else Jax)(args)
    except ImportError:
        return print(f"{kind} is not installed here: pip install {kind}", flush=True)
    except RuntimeError as e:
        return print(f"{kind} has no {args.device}: {str(e).splitlines()[0]}", flush=True)
    folder, checked = pathlib.Path(args.golden), 0
    for case in filter(None, (golden(folder / f"{n}.safetensors") for n in ("elbo_bernoulli_relu", "iwae_k5_deep"))):
        loss = peer.case_loss(case)
        checked += 1
        # What the operands of a product keep: 24, 11 and 8 bits.
        tolerance = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 1e-2}[args.precision]
        if not abs(loss - case["loss"]) <= tolerance * abs(case["loss"]):
            return print(f"does not do the same work: {case['name']} gives {loss}, must be {case['loss']}", flush=True)
    if not checked:
        print(f"{args.child}: golden cases, numpy or safetensors are missing: the same work was not checked", file=sys.stderr)
    try:
        clock = Clock(peer.modes()[mode](), args.seconds)
    except Exception as e:  # a mode that this version cannot do is a line, not the end
        return print(f"does not run here: {(str(e).splitlines() or [type(e).__name__])[0][:200]}", flush=True)
    print("ready", peer.version, flush=True)
    for _ in sys.stdin:
        print(clock.repeat(), flush=True)


if __name__ == "__main__":
    main()
