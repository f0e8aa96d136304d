"""Which training images have labels: recipes, name lists and hold-outs, known by hashes."""
