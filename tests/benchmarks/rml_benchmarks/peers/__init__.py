"""Steps as public training scripts write them, re-expressed on our networks, batches and losses.

They show what the structure of a step costs: separate forwards, loops, boolean masks, values read
back to the host. Everything that would only slow them down for other reasons is left out: their
batches are on the device already, and their strong views are ready before the clock starts, as
their data loaders deliver them.
"""

from rml_benchmarks.peers.cps_style import CpsStyle
from rml_benchmarks.peers.proda_style import ProdaStyle
from rml_benchmarks.peers.script import Script
from rml_benchmarks.peers.unimatch_style import UniMatchStyle

PEERS: dict[str, type[Script]] = {"cps": CpsStyle, "unimatch": UniMatchStyle, "rml": ProdaStyle}
"""By the method of ours that has the same loss."""
