"""What the reports show, computed: exact iterations of ECPO, PMD and their ablations on whole models, seeded.

`stacked` holds several models of one size side by side, `sweeps` the recursions over time and states, `methods` the
update rules, `regret` and `monotonicity` the two studies; a study returns plain numbers and draws nothing.
"""
