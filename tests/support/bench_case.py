"""The smallest setting of the benchmark, in words."""

_WORDS = (
    "--backbone test_resnet --crop 24 32 --batch 2 2 --classes 3 --precision float32 --rounds 1"
)
TINY_WORDS = _WORDS.split()
