"""What commands print or draw: tables of runs, summaries, predictions, comparisons."""
