"""What users do with a model: predict, evaluate, verify, benchmark, look after the installation."""
