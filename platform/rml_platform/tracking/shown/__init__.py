"""What MLflow shows people: views, addresses, the summary run of a study."""
