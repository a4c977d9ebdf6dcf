"""What else can be wrong with a model: how its training ended, and how well it holds on other rows.

A rule is a function of the symptoms and the case, which returns a finding or nothing.
"""

from vael.diagnostics.causes import another_fit, ignored
from vael.diagnostics.finding import Finding
from vael.diagnostics.symptoms import Case, Symptoms

FAR = 0.1  # of the rate, and a nat: how far mean and covariance of q̄ may be from the prior's
BY_HEART = 0.5  # of the rate, and a nat: how much log p(x) may be lower on held-out examples
ENCODED = 0.25  # of the rate, and a nat: how much log p(x) − ELBO may be higher there
FEW = 5.0  # importance weights, of some hundreds
RISING = 0.02  # of the whole gain, in the last fifth of the steps
SURE = 0.7  # of the true z within the central 90 % of q(z|x)


# ── how training ended ───────────────────────────────────────────────────────────────────────────────────────


def warm_up_unfinished(s: Symptoms, case: Case) -> Finding | None:
    """The rate never counted in full."""
    if s.course.warmed:
        return None
    share = s.course.step / s.course.warm_up
    return Finding(
        "warm_up_unfinished",
        "Training ended before its warm-up did: the rate never counted in full.",
        "While it counts less, q(z|x) is free to leave the prior: the rate is higher than it should be, and samples "
        "come from places that no example was near.",
        (
            f"warm-up {s.course.warm_up} steps, trained {s.course.step}: at its end the rate counted {share:.2f}",
            f"rate {s.information.rate} nats",
        ),
        (
            f"{case.again} --steps {s.course.steps} --warm-up {max(1, s.course.steps // 3)}",
            f"or more steps than the warm-up takes: --steps {3 * s.course.warm_up}",
        ),
        another_fit(s),
    )


def still_improving(s: Symptoms, case: Case) -> Finding | None:
    """The bound rose until the end."""
    late, whole = s.course.late_gain, s.course.whole_gain
    if late is None or whole is None or not s.course.best_last or late < max(RISING * abs(whole), 0.1):
        return None
    return Finding(
        "still_improving",
        "The bound was still rising when training ended.",
        "There were too few steps for this model and these data.",
        (f"from step {s.course.late_from} to {s.course.step} it rose by {late:.2f} nats, in all by {whole:.2f}",),
        (f"{case.again} --steps {3 * s.course.step}", f"or in the recipe: [training] steps = {3 * s.course.step}"),
        another_fit(s, 3.0),
    )


def rewound(s: Symptoms, case: Case) -> Finding | None:
    """A number was not finite on the way."""
    if not s.course.rewinds:
        return None
    rate = float(case.training.get("learning_rate", 1e-3)) * s.course.slowdown
    return Finding(
        "rewound",
        f"Training met a number that is not finite, and went back {s.course.rewinds} time"
        f"{'s' * (s.course.rewinds != 1)}.",
        "Steps were too long for the model, or the data have extreme values. The weights kept are good; the rest of "
        "training went on with shorter steps.",
        (f"first not finite: {s.course.broken}", f"learning rate at the end × {s.course.slowdown:g}"),
        (f"{case.again} --learning-rate {rate:g}",),
        another_fit(s),
    )


# ── how well it holds ────────────────────────────────────────────────────────────────────────────────────────


def overfitted(s: Symptoms, case: Case) -> Finding | None:
    """A density that is higher on the training rows."""
    if s.fit is None or not s.fit.model.exceeds(allowed(s, BY_HEART)):
        return None
    return Finding(
        "overfitting",
        "The model knows its training rows by heart: it gives them a higher density than rows it has not seen.",
        "It has more freedom than the data can settle.",
        (
            f"log p(x) on training rows above held-out ones by {s.fit.model} nats",
            f"an example's latent holds {s.information.rate} nats, the rate",
        ),
        (
            f"{case.again} --set training.weight_decay=0.01",
            "or fewer --latent, smaller hidden layers, more data; patience stops before it (--patience 15)",
        ),
        another_fit(s),
    )


def encoder_overfitted(s: Symptoms, case: Case) -> Finding | None:
    """A q(z|x) that fits training rows better."""
    if s.fit is None or not s.fit.encoder.exceeds(allowed(s, ENCODED)):
        return None
    return Finding(
        "encoder_overfitting",
        "The encoder knows its training rows by heart: for other rows q(z|x) misses p(z|x) by more.",
        "The bound of new examples suffers though the model itself may fit them; log p(x) does not.",
        (
            f"log p(x) − ELBO is larger on held-out rows by {s.fit.encoder} nats; on them it is {s.fit.gap} nats",
            f"log p(x) itself differs by {s.fit.model} nats",
        ),
        (f"{case.again} --set training.weight_decay=0.01", "or a smaller encoder: posterior.network.hidden"),
        another_fit(s),
    )


def allowed(s: Symptoms, share: float) -> float:
    """Nats that held-out examples may be worse off by: a share of the rate, and one nat at least."""
    return max(1.0, share * s.information.rate.value)


def loose_evidence(s: Symptoms, case: Case) -> Finding | None:
    """Importance weights of which a few are all."""
    if s.effective is None or s.effective[0] >= min(FEW, s.effective[1] / 2):
        return None
    size, draws = s.effective
    gap = () if s.fit is None else (f"log p(x) − ELBO {s.fit.gap} nats or more",)
    return Finding(
        "loose_evidence",
        "log p(x) is a loose lower bound: q(z|x) is far from p(z|x).",
        "A few draws carry all of the importance weight. Where q is narrower than p(z|x), or of another form, more "
        "draws help slowly.",
        (f"effective sample size {size:.1f} of {draws} draws, median", *gap),
        (freer_posterior(case), f"or vael evaluate --draws {20 * draws}, without a new fit"),
        another_fit(s),
    )


def far_from_prior(s: Symptoms, case: Case) -> Finding | None:
    """Examples live where the prior does not draw."""
    if s.marginal is None or s.marginal <= max(1.0, FAR * s.information.rate.value):
        return None
    return Finding(
        "far_from_prior",
        "The examples' latents lie elsewhere than the prior draws: samples will not look like the data.",
        "The rate pays for the place of all examples together, KL(q̄‖p), beside what tells them apart.",
        (
            f"KL(q̄‖p) at least {s.marginal:.2f} nats, by mean and covariance of q̄ alone",
            f"rate {s.information.rate} nats",
        ),
        (f"{case.again} --steps {3 * max(s.course.step, 1)}", *weighs_less(case)),
        another_fit(s, 3.0),
    )


def weighs_less(case: Case) -> tuple[str, ...]:
    """The remedy for a rate that counts less than it should."""
    return ("or --objective elbo: with β below 1 the rate is charged too little",) if case.beta < 1 else ()


def unsure_encoder(s: Symptoms, case: Case) -> Finding | None:
    """Intervals that miss the truth."""
    if s.calibration is None or ignored(s):
        return None
    coverage = float(s.calibration.most.mean())
    if coverage >= SURE:
        return None
    return Finding(
        "overconfident_encoder",
        "q(z|x) is too sure of itself: its intervals miss the true z of examples drawn from the model.",
        "q is narrower than p(z|x) or off its mark, so uncertainties read from it are too small.",
        (
            f"the central 90 % of q(z_j|x) hold the true z_j in {100 * coverage:.0f} % of {s.calibration.examples} "
            f"simulated examples",
            f"the central 50 % in {100 * float(s.calibration.half.mean()):.0f} %",
        ),
        (freer_posterior(case),),
        another_fit(s),
    )


def freer_posterior(case: Case) -> str:
    """The command with a q(z|x) of a richer form; with a longer training where there is none, or z is no Gaussian's."""
    kind = case.posterior.get("kind", "gaussian")
    if kind not in ("gaussian", "low_rank_gaussian"):
        return case.longer()
    return f"{case.again.replace(f' --posterior {kind}', '')} --posterior full_gaussian"
