"""What runs cost: measured on earlier ones or by a probe, and added up per row."""
