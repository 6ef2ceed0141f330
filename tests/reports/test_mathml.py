"""Formulas as MathML: what is translated, what is mended, what is left as its source."""

import re
import xml.etree.ElementTree as ET

import pytest

from reports.mathml import formula, render, render_plain

FORMULAS = [
    r"$\arg\max_{\pi_\theta\in\Pi}\ \mathbb E_{\rho\sim\pi_\theta}r(\rho)-\tau D_{KL}(\pi_\theta\Vert q)$",
    r"$\arg\min_{\pi_\theta\in\Pi}D_{KL}(\pi_\theta\Vert\bar\pi^*_\tau)$ and $\mathcal D$, maximal over $\Delta$.",
    r"The fixed points of PMD are stationary points of $\mathbb E_{\rho\sim\pi_\theta}r(\rho)$.",
    r"$\bar\pi^*_{\tau,\tau'}(\rho)=\dfrac{\bar\pi(\rho)\exp\{\frac{r(\rho)-\tau'\log\bar\pi(\rho)}{\tau+\tau'}\}}"
    r"{\sum_{\rho'}\bar\pi(\rho')\exp\{\frac{r(\rho')-\tau'\log\bar\pi(\rho')}{\tau+\tau'}\}}$.",
    r"$-\sum_{k=1}^K\frac{\exp\{\omega_k\}}{\sum_{j=1}^K\exp\{\omega_j\}}\nabla_\theta\log\pi_\theta(\rho_k)$",
    r"$\forall\pi\in\Pi:\ \sum_{t=1}^T\mathbb E_{\rho\sim\pi}r(\rho)\le4\sqrt{T\log n}$",
    r"$SR(\pi)=(\tau+\tau')\log\sum_\rho\exp\left\{\frac{r(\rho)+\tau\log\pi(\rho)}{\tau+\tau'}\right\}$",
    r"$\frac1{2\eta}\mathbb E_{\rho\sim\pi}\left[(\hat r(\rho)-\hat r_\infty)^2\right]$"
    r" with $\hat r_\infty=\lVert\hat r\rVert_\infty$",
    r"$SR(\pi)\to\max_\rho r(\rho)$ as $\tau\to0,\ \tau'\to0$.",
    r"$D_{KL}(\pi_t\Vert\bar\pi_{t+1})\le\frac1{2(\tau+\tau')^2}+(\pi_t-\bar\pi_{t+1})^\top\log\pi_t$.",
    r"$\left.\frac{d D_{KL}(\pi_\theta\Vert q)}{d\theta}\right\rvert_{\theta=\theta_t}=0\iff\sum_\rho r(\rho)=0$",
    r"$\pi_\theta(s)=\mathrm{softmax}(\phi_s^\top\theta)$, $\Delta_f=\{\pi:\ f(\rho)>0\ \forall\rho\}$",
    r"$\theta'_{t+1}\neq\mathbf 1[x<y]$, $\operatorname{tr}A\ge\lvert x\rvert$, $\bar{\mathcal J}$, $\tfrac12$",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_become_well_formed_mathml_without_leftovers(text):
    html = render(text)
    tree = ET.fromstring(f"<p>{html}</p>")
    visible = "".join(tree.itertext())
    assert "<code" not in html
    assert not re.search(r"[\\$\ue000-\ue0ff~]", visible)
    assert "mathvariant" not in re.sub(r'mathvariant="normal"', "", html)


def test_formulas_are_mended_where_browsers_would_misread_them():
    assert "𝔼" in render(r"$\mathbb E$")
    assert "ℋ" in render(r"$\mathcal H$")
    assert "𝒟" in render(r"$\mathcal D$")
    assert "<mi>softmax</mi>" in render(r"$\mathrm{softmax}(x)$")
    assert '<mo form="infix" lspace="0.2em" rspace="0.2em" stretchy="false">‖</mo>' in render(r"$p\Vert q$")
    assert 'form="prefix"' in render(r"$\lVert x\rVert$")
    assert '<mi>log</mi><mspace width="0.167em" /><mi>n</mi>' in render(r"$\log n$")
    assert "<mi>log</mi><mo" in render(r"$\log(n)$")
    assert "accent" not in render(r"$\bar\pi$")
    assert '<mi mathvariant="normal">Π</mi>' in render(r"$\Pi$")
    assert '<mi mathvariant="normal">∞</mi>' in render(r"$x\to\infty$")
    assert "<msub><mrow><mi>θ</mi>" in render(r"$\theta'_t$")
    assert render(r"$a+b=c+d$").count("<math") == 3
    assert render(r"$(a+b=c+d)$").count("<math") == 1


def test_prose_is_escaped_and_broken_formulas_stand_as_their_source():
    assert render("a < b & `c<d` costs \\$5") == "a &lt; b &amp; <code>c&lt;d</code> costs $5"
    assert render("one $ alone") == "one $ alone"
    assert render(r"$x_{$") == '<code class="tex">x_{</code>'
    assert render(r"$\nonsense<x$") == '<code class="tex">\\nonsense&lt;x</code>'


def test_text_for_terminals_gets_its_symbols_outside_formulas():
    assert render_plain("tau > 0, tau' >= 0 is `tau`") == "τ &gt; 0, τ′ ≥ 0 is <code>tau</code>"
    assert render_plain("pi_theta of pi") == formula(r"\pi_\theta") + " of π"
    assert render_plain("KL(pi || lift), the policy's total, 0 * inf") == "KL(π ‖ lift), the policy&#39;s total, 0 · ∞"
    assert render_plain("step $tau$ pipe") == "step " + formula("tau") + " pipe"
