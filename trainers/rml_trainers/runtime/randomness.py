"""Every random draw is a pure function of (seed, stage, step, purpose), so no generator state is
ever saved.

A run that is killed and resumed therefore draws exactly what the uninterrupted run drew. Draws for
a batch are made for the *global* batch; each worker takes its own slice, so that the number of
workers does not change them.
"""

import hashlib

import numpy as np
import torch


def derived_seed(*parts: int | str) -> int:
    """63-bit seed from a readable key such as (seed, "labelled", student, epoch); the same on every
    machine."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """Independent NumPy generator (Philox) for one purpose at one moment."""
    return np.random.Generator(np.random.Philox(derived_seed(*parts)))


def seed_model_noise(*parts: int | str) -> None:
    """Seed torch's default generators (dropout, stochastic depth, initialisation) for one moment,
    on every device."""
    torch.manual_seed(derived_seed(*parts))
