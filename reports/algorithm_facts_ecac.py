r"""What the page of ECAC says: update rule beside its equations, what is repaired, what the options change."""

from __future__ import annotations

from reports.algorithm_facts import CONTINUATION, ECPO, ONE_STEP, Facts, Step, lag

__all__ = ["ECAC"]

STEPS = (
    Step(
        "Reference policy",
        (r"\bar\pi\leftarrow\pi_\theta",),
        "ECPO, Algorithm 2, line 8",
        "Once in `gradient_steps` updates (the paper's $M$): the Lift step is taken from here, and the updates until "
        "the next one are its Project step.",
    ),
    Step(
        "One sample of the soft value",
        (
            r"q(s,a)=\min_iQ_i(s,a)-\tau'\log\bar\pi(a\mid s)",
            r"a\sim\bar\pi(\cdot\mid s)",
        ),
        "ECPO, Sec. 4, before Eq. 9; the smaller of the twins: App. C",
        r"The soft optimal value of Eq. 8 is $\bar V^*(s)=\eta\log\mathbb E_{a\sim\bar\pi}\,e^{q(s,a)/\eta}$. One $q$ "
        "is no unbiased estimate of it: the mean of $q$ lies below by Jensen's inequality, whenever $q$ varies.",
        ("sampled_soft_value",),
        ("ecpo.eq8.value", "ecpo.sec4.logexp", "ecpo.sec4.onesample", "ecpo.sec4.onesample.amended"),
    ),
    Step(
        "Soft state value",
        (
            r"L(V)=\mathbb E_{s\sim\mathcal D,b\sim\pi_\theta}\,\tfrac12\left(V(s)-\left["
            r"\min_iQ_i(s,b)+\tau\log\bar\pi(b\mid s)-\eta\log\pi_\theta(b\mid s)\right]\right)^2",
            r"\text{as printed:}\quad L(V)=\mathbb E_{s\sim\mathcal "
            r"D,a\sim\bar\pi}\,\tfrac12\left(V(s)-q(s,a)\right)^2",
            r"\text{exponential:}\quad L(V)=\mathbb E_{s\sim\mathcal D,a\sim\bar\pi}\;\eta^2\left(e^z-z-1\right),"
            r"\quad z=\frac{q(s,a)-V(s)}\eta",
        ),
        "ECPO, Eqs. 9 and 22, repaired; the temporal consistency before Eq. 8",
        r"The repaired loss is least at the Lift step's objective of $\pi_\theta$, which is at most $\bar V^*$ and "
        r"equal to it when $\pi_\theta$ is the lift; there the target is the same for every action. The printed loss "
        r"is least at $V=\mathbb E\,q$. The exponential one is least where $\mathbb E\,e^{(q-V)/\eta}=1$, at "
        r"$V=\bar V^*$ whatever the policy (the amended claim regresses $m$ on $e^{q/\eta}$ and takes $\eta\log m$: "
        "the same value).",
        ("shaped_returns", "sampled_soft_value", "squared_error", "exponential_regression"),
        ("ecpo.eq9", "ecpo.eq9.consistent", "ecpo.eq9.amended"),
    ),
    Step(
        "Soft action values",
        (r"L(Q_i)=\mathbb E_{(s,a,s')\sim\mathcal D}\,\tfrac12\left(Q_i(s,a)-r-\gamma c\,\bar V(s')\right)^2",),
        "ECPO, Eqs. 10 and 25",
        "Both twins, each by itself, on the target network of the value.",
        ("bellman_target", "squared_error"),
        ("ecpo.eq10", "ecpo.sec4.temporal"),
    ),
    Step(
        "Policy",
        (
            r"L(\theta)=-\mathbb E_{s\sim\mathcal D,a\sim\bar\pi}\;e^\omega\log\pi_\theta(a\mid s)",
            r"\omega=\min\left(\frac{q(s,a)-V(s)}\eta,\,\omega_{\max}\right)",
        ),
        "ECPO, Eqs. 11 and 24, by Eq. 26 (Lemma 7) with the sign of its proof",
        r"This projects the lift $e^{(Q+\tau\log\bar\pi-V)/\eta}$ of Eq. 8 onto the policies, by importance sampling "
        r"from the reference. No gradient passes through $\omega$. $\omega_{\max}$ is `max_log_weight`.",
        ("projection_weight", "score_function_loss"),
        ("ecpo.eq8.policy", "ecpo.lemma7"),
    ),
    Step(
        ONE_STEP.title,
        ONE_STEP.formulas,
        "ECPO, Algorithm 2, lines 11 and 12",
        ONE_STEP.text
        + " That the paper's losses fall along their gradients does not say that they are the right losses.",
        claims=("ecpo.alg2.descent",),
    ),
    lag(("V",), "ECPO, Algorithm 2, line 13", r"The paper's symbol for it is $\alpha$."),
)

REPAIRS = (
    (
        "Eq. 9",
        r"It regresses $V$ on targets of one sample each. A squared error is least at the mean of its targets, and "
        r"the mean of $q$ lies below the soft value (Jensen's inequality), however exact $Q$ is and however many the "
        r"data. The repair takes the sample from the policy instead of the reference, and with it the paper's own "
        r"temporal consistency, of which the printed target is the case $\pi_\theta=\bar\pi$.",
    ),
    (
        "Which repair",
        r"Eq. 9 has two repairs that are true of exact action values, and learned ones tell them apart. The "
        r"exponential regression finds the soft maximum of $Q$ over the reference's actions; with $\eta$ far below the "
        r"errors of a network that is the largest error, and $\gamma\bar V$ hands it on: on Hopper-v5 the mean "
        r"$Q$ passed 500,000 within 40,000 updates where returns are a few hundred. The other one evaluates the policy "
        r"and stays in proportion, so it is the default.",
    ),
    (
        "Lemma 7",
        "Eq. 26 is printed without the minus sign that the last line of its own proof has; descending along it moves "
        "the policy away from its target. The code uses the sign of the proof in both modes.",
    ),
    (
        "Importance weights",
        "Algorithm 2 as printed has no cap on them, and one action to which the reference gives little probability can "
        r"outweigh a batch. Here $\omega$ is cut at `max_log_weight`, in all modes, and the exponential loss of $V$ "
        r"goes on as its tangent where $z$ is above it. What the cap costs: where some $z$ is above it, that loss "
        "rests below the soft value.",
    ),
)

MODES = (
    ("--as-printed", "regresses $V$ on the one-sample targets of Eq. 9. Everything else stays as it is."),
    (
        "--value-regression exponential",
        "learns $V$ by the exponential regression. Everything else stays as it is.",
    ),
    (
        "--no-entropy",
        r"sets $\tau'=0$: the reference's own entropy no longer counts, $q=\min_iQ_i$ and $\eta=\tau$. What is left "
        "is the actor-critic form of policy mirror descent.",
    ),
    (
        "--no-projection",
        "sets the reference to the policy before every update: each lift gets one gradient step instead of "
        "`gradient_steps`, and is not projected onto the policies but merely approached.",
    ),
)

ECAC = Facts(
    "Exploratory conservative actor-critic",
    "Lifts the policy towards higher value, kept near a reference by relative entropy and spread by entropy, then "
    "projects the lift onto the policies: ECPO with a learned soft value and twin soft action values.",
    (ECPO,),
    "Stable-Baselines3, CleanRL and Spinning Up have no algorithm of this name. The nearest relatives are soft "
    "actor-critic with a state-value network, and maximum a posteriori policy optimisation (MPO), which weighs sampled "
    "actions by exponentials as well.",
    r"$\tau$ and $\tau'$ are `kl_temperature` and `entropy_temperature`, $\eta=\tau+\tau'$; $\bar\pi$ is the reference "
    r"policy, $\bar V$ the target network of $V$. " + CONTINUATION,
    STEPS,
    (
        "All gradients are taken at the same parameters, then one fused optimiser step moves all networks: so does "
        "Algorithm 2 as printed (lines 11 and 12), with gradient descent in the place of Adam.",
        "The paper uses a Gaussian policy; the default here sends it through tanh, so that actions keep to their box. "
        "`--policy gaussian` is the paper's.",
        "Algorithm 2 does not say how many environment steps lie between rounds of updates: here `train_frequency`.",
        "The paper's statements assume deterministic transitions (Sec. 1.1) and are judged for sums over actions; the "
        "networks meet whatever the environment does, with densities of actions.",
    ),
    "tests/bridge/test_ecac.py",
    (
        (
            "Every update equals the exact one, in all three ways to learn the value; every mean over the reference's "
            "actions is a sum.",
            "test_the_update_is_the_exact_one",
        ),
        (
            "The policy's gradient is that of the divergence from the lift: the policy less `log_lift`.",
            "test_the_policys_gradient_is_that_of_the_divergence_from_the_lift",
        ),
        (
            "With a fixed reference both repairs rest at the soft optimal value of Eq. 8, found by soft value "
            "iteration.",
            "test_the_repaired_update_rests_at_the_soft_optimal_value_of_eq_8",
        ),
        (
            "As printed it rests at the reference's own soft value, which is too low.",
            "test_as_printed_it_rests_at_the_references_own_soft_value_which_is_too_low",
        ),
        (
            "On a problem of one step, whole iterations are those of ECPO.",
            "test_on_a_problem_of_one_step_it_is_ecpo",
        ),
        (
            "With actions of a box, for any noise, the update is the derivative worked out by hand.",
            "test_in_a_box_for_any_noise_the_update_is_the_derivative_by_hand",
        ),
    ),
    REPAIRS,
    MODES,
)
