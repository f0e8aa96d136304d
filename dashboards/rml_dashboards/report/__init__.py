"""Reports: studies with their cells, tables, figures, pictures and provenance in one HTML file."""
