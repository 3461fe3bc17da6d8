"""Compares what `vae-gpu grad` wrote with the case files: compare_cases.py CASES RESULTS TOLERANCE

Prints the worst relative Frobenius error of each case, and exits with 1 if a tensor is out of tolerance.
"""
import pathlib
import sys

import numpy as np
from safetensors.numpy import load_file

cases, results, tolerance = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), float(sys.argv[3])
failed = False
for path in sorted(results.glob("*.safetensors")):
    got, want = load_file(path), load_file(cases / path.name)
    names = [n for n in want if n.startswith(("out.", "grad."))]
    missing = [n for n in names if n not in got]
    errors = {n: np.linalg.norm(got[n] - want[n]) / max(np.linalg.norm(want[n]), 1e-300) for n in names if n in got}
    worst = max(errors, key=errors.get)
    bad = bool(missing) or not errors[worst] <= tolerance
    failed |= bad
    print(f"{path.stem:<36} {len(errors):3d} tensors, worst {errors[worst]:.1e} ({worst}){'  FAILED' if bad else ''}")
if not list(results.glob("*.safetensors")):
    sys.exit("no results to compare")
sys.exit(failed)
