"""Feature extractors that networks are built on, by timm, with their pretrained weights."""
