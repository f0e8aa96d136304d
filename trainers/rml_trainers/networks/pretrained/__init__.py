"""Pretrained weights: from an installed package, from a file, or from timm's hub."""
