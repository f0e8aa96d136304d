"""Studies as their written plans tell: which runs fill which cell, and what is shown of them."""
