"""What users of TRL's `GRPOTrainer` rely on, as a table that is run on it and on `GSPOTrainer` (TRL 1.14).

`python -m tests.training.trl_behaviours.page` writes docs/trl_behaviours.md.
"""
