"""Speed and memory as ratios measured in one run: `rml bench`, or `python -m rml_trainers.bench` without Ray."""
