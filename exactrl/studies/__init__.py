"""What the reports show, computed: exact iterations on whole models, seeded.

Episodes, ECPO and PMD: `stacked` holds several models of one size side by side, `sweeps` the recursions over time and
states, `methods` the update rules, `regret` and `monotonicity` the studies.  Discounted models, MPO and soft and hard
iterations: `discounted` has the models, `improvement` and `contraction` are the studies.  A study returns plain numbers
and draws nothing.
"""
