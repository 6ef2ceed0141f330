r"""What the page of an algorithm says that neither its code nor its runs can: update rule, sources, repairs, bridges.

Texts may hold $...$ formulas and `code`.  Verdicts, defaults, ranges, networks and returns are not written here: the
page takes them from the claims, the configuration, the algorithm and the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DDPG", "SAC", "SAC_SCORE", "TD3", "Facts", "Step"]


@dataclass(frozen=True)
class Step:
    """One step of an update: formulas, where they stand, which functions of exactrl.formulas, which claims."""

    title: str
    formulas: tuple[str, ...]
    source: str
    text: str = ""
    functions: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Facts:
    """One algorithm.

    repairs: title and text.  modes: option and what it does.  established: what a test of `bridge` shows, and the name
    of that test.
    """

    name: str
    summary: str
    papers: tuple[str, ...]
    peers: str
    symbols: str
    steps: tuple[Step, ...]
    differences: tuple[str, ...]
    bridge: str
    established: tuple[tuple[str, str], ...]
    repairs: tuple[tuple[str, str], ...] = ()
    modes: tuple[tuple[str, str], ...] = ()


ECPO = (
    "Mei, Xiao, Huang, Schuurmans and Müller, On Principled Entropy Exploration in Policy Optimization, IJCAI 2019 "
    "(ECPO)"
)
SAC_FIRST = (
    "Haarnoja, Zhou, Abbeel and Levine, Soft Actor-Critic: Off-Policy Maximum Entropy Deep Reinforcement Learning with "
    "a Stochastic Actor, ICML 2018"
)
SAC_SECOND = (
    "Haarnoja and others, Soft Actor-Critic Algorithms and Applications, arXiv 1812.05905, 2018 (SAC; the equation "
    "numbers below are this paper's)"
)
TD3_PAPER = (
    "Fujimoto, van Hoof and Meger, Addressing Function Approximation Error in Actor-Critic Methods, ICML 2018 (TD3)"
)
DDPG_PAPER = (
    "Lillicrap, Hunt, Pritzel, Heess, Erez, Tassa, Silver and Wierstra, Continuous Control with Deep Reinforcement "
    "Learning, ICLR 2016 (DDPG)"
)

CONTINUATION = (
    "$c$ is 0 where the episode terminated and 1 elsewhere, also where a time limit cut it off. $\\mathcal D$ is the "
    "replay buffer; means over it are means over a batch."
)
SAME_POINT = (
    "The gradients of all networks are taken at the same parameters, then one fused optimiser step moves them all. The "
    "published algorithm moves the critics first and takes the policy's gradient at the new critics. The two differ by "
    "terms of the order of the learning rate."
)
TABLE_RULES = (
    "Widths, learning rate, batch size and the other settings are those of the table above, not those of any one "
    "published experiment; to repeat an experiment, set them."
)
ONE_STEP = Step(
    "One step for all",
    (r"\theta\leftarrow\theta-\text{Adam}(\nabla_\theta L)",),
    "this implementation",
    r"$\theta$ is everything that is trained and $L$ the sum of the losses above. `optimizer` may also be plain "
    "gradient descent.",
)


def lag(symbols: tuple[str, ...], source: str, text: str = "") -> Step:
    """The exponential averages that targets are."""
    return Step(
        "Targets",
        tuple(rf"\bar {x}\leftarrow(1-\kappa)\,\bar {x}+\kappa\,{x}" for x in symbols),
        source,
        rf"Of the parameters. $\kappa$ is the option `tau`. {text}".strip(),
    )


SOFT_TARGET = Step(
    "Target of the critics",
    (
        r"y=r+\gamma c\left(\min_i\bar Q_i(s',a')-\alpha\log\pi(a'\mid s')\right)",
        r"a'\sim\pi(\cdot\mid s')",
    ),
    "SAC, Eqs. 2, 3 and 5",
    r"One sampled action estimates $\mathbb E_{a\sim\pi}[Q-\alpha\log\pi]$ without bias. That mean is the soft value "
    r"of the policy $\pi$. It is not the soft optimal value $\alpha\log\sum_a e^{Q/\alpha}$, which by Jensen's "
    r"inequality is higher unless $\pi\propto e^{Q/\alpha}$. For soft actor-critic that is as it should be: the "
    "critics evaluate the policy, and the policy's own step improves it. The ECPO paper reads the same kind of "
    r"estimate as one of the soft optimal value; that is the claim below, and why it falls. (Soft actor-critic is its "
    r"case $\tau=0$, $\tau'=\alpha$, $\bar\pi=\pi$. The claim is judged for $\tau>0$, so its verdict speaks of the "
    "neighbours of this case.)",
    ("sampled_soft_value", "bellman_target"),
    ("ecpo.sec4.onesample", "ecpo.sec4.onesample.amended"),
)
SOFT_CRITIC = Step(
    "Critics",
    (r"L(Q_i)=\mathbb E_{\mathcal D}\,\tfrac12\left(Q_i(s,a)-y\right)^2",),
    "SAC, Eq. 5",
    "Each of the twins is regressed on the same target; no gradient passes through it.",
    ("squared_error",),
)
TEMPERATURE = Step(
    "Temperature",
    (r"L(\alpha)=-\log\alpha\,\mathbb E\left[\log\pi(a\mid s)+\bar{\mathcal H}\right]",),
    "SAC, Eq. 18",
    "With `autotune` alone. The published objective has a factor $\\alpha$ where this one has $\\log\\alpha$: both "
    "have the same sign of slope and rest at the same entropy, `target_entropy`.",
    ("temperature_loss",),
)
SOFT_SYMBOLS = (
    r"$\alpha$ is the temperature, $\bar Q_i$ are the target critics, $\bar{\mathcal H}$ is the target entropy. "
    + CONTINUATION
)
SOFT_DIFFERENCES = (
    SAME_POINT,
    "There is no state-value network: that of the first paper was dropped in the second.",
    r"The temperature is adapted through the loss in $\log\alpha$, as many implementations do.",
    TABLE_RULES,
)

SAC = Facts(
    "Soft actor-critic",
    "Evaluates a stochastic policy with its entropy counted as reward, and moves the policy towards the exponential of "
    "its own action values, through the sampled action.",
    (SAC_FIRST, SAC_SECOND),
    "Stable-Baselines3: `SAC`. CleanRL: `sac_continuous_action.py`. Spinning Up: `sac`. The ECPO paper calls it SAC+R.",
    SOFT_SYMBOLS,
    (
        SOFT_TARGET,
        SOFT_CRITIC,
        Step(
            "Policy",
            (
                r"L(\pi)=\mathbb E_{s\sim\mathcal D}\left[\alpha\log\pi(a\mid s)-\min_iQ_i(s,a)\right]",
                r"a=f_\theta(s,\epsilon)",
            ),
            "SAC, Eqs. 7 and 9",
            "The gradient passes through the sampled action into the policy (reparameterisation).",
            ("sampled_soft_value",),
        ),
        TEMPERATURE,
        ONE_STEP,
        lag(("Q",), "SAC, Algorithm 1"),
    ),
    SOFT_DIFFERENCES,
    "tests/bridge/test_sac.py",
    (
        (
            "Every update equals the exact one, all means over actions in closed form.",
            "test_the_update_is_the_exact_one",
        ),
        (
            "With the policy held, the critics converge to its soft value, as `exactrl.evaluation` computes it.",
            "test_with_the_policy_held_the_critics_converge_to_its_soft_value",
        ),
        (
            "For any noise the update is the derivative worked out by hand, squashed or not.",
            "test_for_any_noise_the_update_is_the_derivative_by_hand",
        ),
    ),
)

SAC_SCORE = Facts(
    "Soft actor-critic with the score function",
    "Soft actor-critic whose policy gradient needs no derivative of the critic: it weighs the score of sampled "
    "actions, so it takes discrete actions as well.",
    (ECPO, SAC_SECOND),
    "The ECPO paper's baseline SAC, without the reparameterisation trick. Stable-Baselines3, CleanRL and Spinning Up "
    "have only the reparameterised form for boxes.",
    SOFT_SYMBOLS + r" $K$ is the option `policy_samples`.",
    (
        SOFT_TARGET,
        SOFT_CRITIC,
        Step(
            "Policy",
            (
                r"L(\pi)=-\mathbb E_{s\sim\mathcal D}\,\frac1K\sum_{k=1}^K\log\pi(a_k\mid s)\,(\hat V_k-b_k)",
                r"\hat V_k=\min_iQ_i(s,a_k)-\alpha\log\pi(a_k\mid s)",
                r"b_k=\frac1{K-1}\sum_{j\ne k}\hat V_j",
            ),
            "SAC, Eq. 7, by the likelihood-ratio gradient",
            r"$a_1,\dots,a_K$ are independent draws from the policy; no gradient passes through $\hat V_k-b_k$. The "
            "baseline of each action is the mean of the others, which do not depend on it, so the gradient stays "
            "unbiased.",
            ("sampled_soft_value", "score_function_loss"),
        ),
        TEMPERATURE,
        ONE_STEP,
        lag(("Q",), "SAC, Algorithm 1"),
    ),
    (
        "The ECPO paper does not say which baseline or how many actions its SAC had: the baseline of the other actions "
        "and `policy_samples` are this implementation's.",
        *SOFT_DIFFERENCES,
    ),
    "tests/bridge/test_sac_score.py",
    (
        (
            "Every update equals the exact one, all means over actions as finite sums.",
            "test_the_update_is_the_exact_one",
        ),
        (
            "With the policy held, the critics converge to its soft value.",
            "test_with_the_policy_held_the_critics_converge_to_its_soft_value",
        ),
        (
            "The soft optimal policy is a fixed point, whatever the samples: soft value iteration says which it is.",
            "test_the_soft_optimal_policy_is_a_fixed_point_for_any_noise",
        ),
        (
            "The baseline is the mean of the other samples, by plain loops.",
            "test_for_any_noise_the_baseline_is_the_mean_of_the_others",
        ),
    ),
)

DETERMINISTIC_BRIDGE = (
    (
        "Every update equals the exact one: the deterministic policy gradient in closed form, the target's noise as a "
        "finite sum.",
        "test_the_update_is_the_exact_one",
    ),
    (
        "With the policy held, the critics converge to its value, as `exactrl.evaluation` computes it.",
        "test_with_a_tabular_policy_held_the_critic_converges_to_its_value",
    ),
)
DETERMINISTIC_SYMBOLS = r"$\mu$ is the policy, $\bar\mu$ and $\bar Q$ are the targets. " + CONTINUATION

DDPG = Facts(
    "Deep deterministic policy gradient",
    "Learns one critic of a deterministic policy and climbs it; explores by adding noise to the action.",
    (DDPG_PAPER,),
    "Stable-Baselines3: `DDPG`. CleanRL: `ddpg_continuous_action.py`. Spinning Up: `ddpg`.",
    DETERMINISTIC_SYMBOLS,
    (
        Step(
            "Target of the critic",
            (r"y=r+\gamma c\,\bar Q(s',\bar\mu(s'))",),
            "DDPG, Eq. 5, with the targets of Algorithm 1",
            functions=("bellman_target",),
        ),
        Step(
            "Critic",
            (r"L(Q)=\mathbb E_{\mathcal D}\,\tfrac12\left(Q(s,a)-y\right)^2",),
            "DDPG, Eq. 4",
            functions=("squared_error",),
        ),
        Step(
            "Policy",
            (r"L(\mu)=-\mathbb E_{s\sim\mathcal D}\,Q(s,\mu(s))",),
            "DDPG, Eq. 6",
            "The gradient passes through the critic into the action.",
        ),
        ONE_STEP,
        lag(("Q", r"\mu"), "DDPG, Algorithm 1"),
    ),
    (
        SAME_POINT,
        "Exploration is independent Gaussian noise of deviation `exploration_noise`, not an Ornstein-Uhlenbeck "
        "process.",
        "There is no batch normalisation and no weight decay, policy and critic share one learning rate, and the "
        "action enters the critic with the observation.",
        TABLE_RULES,
    ),
    "tests/bridge/test_td3_ddpg.py",
    DETERMINISTIC_BRIDGE,
)

TD3 = Facts(
    "Twin delayed deep deterministic policy gradient",
    "Deep deterministic policy gradient with three mends: the smaller of two critics, a smoothed target action, fewer "
    "steps of the policy than of the critics.",
    (TD3_PAPER, DDPG_PAPER),
    "Stable-Baselines3: `TD3`. CleanRL: `td3_continuous_action.py`. Spinning Up: `td3`.",
    DETERMINISTIC_SYMBOLS + r" $\sigma$ is `policy_noise`, $b$ is `noise_clip`, $\epsilon$ is standard normal.",
    (
        Step(
            "Target of the critics",
            (
                r"y=r+\gamma c\,\min_i\bar Q_i(s',\tilde a)",
                r"\tilde a=\text{clip}\left(\bar\mu(s')+\text{clip}(\sigma\epsilon,-b,b),-1,1\right)",
            ),
            "TD3, Algorithm 1",
            functions=("bellman_target",),
        ),
        Step(
            "Critics",
            (r"L(Q_i)=\mathbb E_{\mathcal D}\,\tfrac12\left(Q_i(s,a)-y\right)^2",),
            "TD3, Algorithm 1",
            functions=("squared_error",),
        ),
        Step(
            "Policy",
            (r"L(\mu)=-\mathbb E_{s\sim\mathcal D}\,Q_1(s,\mu(s))",),
            "TD3, Algorithm 1",
            "Once in `policy_frequency` updates, through the first critic alone.",
        ),
        ONE_STEP,
        lag(("Q", r"\mu"), "TD3, Algorithm 1", "They move when the policy does."),
    ),
    (SAME_POINT, TABLE_RULES),
    "tests/bridge/test_td3_ddpg.py",
    (
        *DETERMINISTIC_BRIDGE,
        (
            "Policy and targets move once in `policy_frequency` updates.",
            "test_policy_and_targets_move_once_in_so_many_updates",
        ),
        (
            "The policy climbs the first critic and the target takes the smaller one.",
            "test_the_policy_climbs_the_first_critic_and_the_target_takes_the_smaller",
        ),
    ),
)
