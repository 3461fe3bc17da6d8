"""Writes the files of this folder with numpy, SciPy, Pillow and safetensors, and beside each what these read from it, as NAME.npy of
float32: `python write.py`. tests/data/written.rs compares. Needs numpy, scipy, pillow, torch and safetensors."""
import io
import os
import struct
import zipfile
import zlib

import numpy as np
import scipy.sparse as sparse
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

r = np.random.default_rng(0)
os.chdir(os.path.dirname(os.path.abspath(__file__)))


def expect(name, values):
    np.save(f"{name}.npy", np.asarray(values).reshape(len(values), -1).astype("float32"))


# .npz
x = r.normal(size=(5, 3)).astype("float32")
np.savez("stored.npz", x=x)
np.savez_compressed("deflated.npz", train=x.astype("float64"), y=np.arange(5))
np.savez("several.npz", train=np.asfortranarray(r.normal(size=(4, 2, 3))), test=r.integers(-9, 9, (2, 6)), labels=np.arange(4))
grey = r.integers(0, 256, (3, 4, 2), dtype=np.uint8)


class Pipe(io.RawIOBase):
    """Cannot go back, so that the sizes stand behind the data."""

    def __init__(self, file):
        self.file = file

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)


# As if it were of more than 4 GiB: numbers of 64 bits
limit, zipfile.ZIP64_LIMIT = zipfile.ZIP64_LIMIT, 1
np.savez("wide.npz", x=x, y=np.arange(5))
zipfile.ZIP64_LIMIT = limit
expect("wide", np.load("wide.npz")["x"])
npy = io.BytesIO()
np.save(npy, grey)
with open("streamed.npz", "wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as archive:
    with archive.open("grey.npy", "w", force_zip64=True) as entry:
        entry.write(npy.getvalue())
for name, array in [("stored", "x"), ("deflated", "train"), ("several", "train")]:
    expect(name, np.load(f"{name}.npz")[array])
expect("several-test", np.load("several.npz")["test"])
expect("streamed", np.load("streamed.npz")["grey"] / 255)


# PNG: folders of two pictures, of which the second is written in another way that means the same kind
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw(name, width, height, depth, colour, rows, interlace=0):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with open(name, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + parts)


for folder in ["grey", "colour", "deep", "deep-colour"]:
    os.makedirs(folder, exist_ok=True)
Image.fromarray(grey[0]).save("grey/a.png")
Image.fromarray(grey[1] > 128).save("grey/b.png")  # one bit
colours = r.integers(0, 256, (4, 3, 3), dtype=np.uint8)
Image.fromarray(colours).save("colour/a.png")
Image.fromarray(colours).quantize(4).save("colour/b.png")  # a palette
deep = r.integers(0, 65536, (2, 3, 5), dtype=np.uint16)
Image.fromarray(deep[0]).save("deep/a.png")
Image.fromarray(deep[1]).save("deep/b.png")
rgb16 = r.integers(0, 65536, (1, 2, 2, 3), dtype=np.uint16)
raw("deep-colour/a.png", 2, 2, 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgb16[0]))
# Adam7 of 2 x 2 pixels: the first, the second, then the second row
raw("interlaced.png", 2, 2, 8, 0, bytes([0, 16, 0, 32, 0, 48, 64]), interlace=1)
pictures = lambda folder, mode: [np.asarray(Image.open(f"{folder}/{f}").convert(mode)) for f in sorted(os.listdir(folder))]
expect("grey", np.stack(pictures("grey", "L")) / 255)
expect("colour", np.stack(pictures("colour", "RGB")) / 255)
expect("deep", np.stack([np.asarray(Image.open(f"deep/{f}.png")) for f in "ab"]) / 65535)
expect("deep-colour", rgb16 / 65535)  # Pillow reads 8 bits of it
expect("interlaced", np.asarray(Image.open("interlaced.png"))[None] / 255)

# .safetensors
t = torch.from_numpy(r.normal(size=(4, 3)) * 20)
kinds = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16, "i8": torch.int8,
         "u8": torch.uint8, "i32": torch.int32, "i64": torch.int64, "bool": torch.bool}
for name, kind in kinds.items():
    values = t.abs().to(kind) if name == "u8" else t.to(kind)
    save_file({"x": values, "labels": torch.arange(4)}, f"{name}.safetensors")
    with safe_open(f"{name}.safetensors", "pt") as file:
        expect(name, file.get_tensor("x").double().numpy() / (255 if name == "u8" else 1))

# sparse matrices: the entries of a row in any order, two of them in one place, a row without any
x = sparse.csr_matrix(([2, 0.25, 0.5, -1, 3, 0.25], [1, 3, 0, 0, 2, 3], [0, 3, 3, 6]), shape=(3, 5))
x.data[[1, 2]], x.indices[[1, 2]] = x.data[[2, 1]], [3, 3]
whole = sparse.csr_matrix((r.random((6, 40)) < 0.1) * r.integers(0, 200, (6, 40)))
sparse.save_npz("csr.npz", x)
sparse.save_npz("csc.npz", x.tocsc())
sparse.save_npz("coo.npz", x.tocoo(), compressed=False)
sparse.save_npz("csr-i64.npz", sparse.csr_array(whole))
sparse.save_npz("csc-u8.npz", whole.tocsc().astype(np.uint8))
sparse.save_npz("coo-bool.npz", (whole != 0).tocoo())
for name in ["csr", "csc", "coo", "csr-i64", "csc-u8", "coo-bool"]:
    expect(name, sparse.load_npz(f"{name}.npz").toarray())
