"""Files that tables and figures have in common: whole files, Markdown tables, plain names."""
