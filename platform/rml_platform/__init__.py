"""From a YAML file to finished runs: studies, plans, Ray, MLflow and the command line `rml`."""
