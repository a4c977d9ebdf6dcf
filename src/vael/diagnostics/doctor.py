"""From measurements to a diagnosis in plain language: findings, each with a remedy and its cost, and the numbers."""

from vael.diagnostics import causes, complaints
from vael.diagnostics.causes import ignored, knows_x
from vael.diagnostics.finding import Diagnosis
from vael.diagnostics.symptoms import Case, Symptoms
from vael.numbers import Number

CAUSES = (causes.noise_too_wide, causes.beta_too_high, causes.capacity_too_low, causes.decoder_needs_no_z)
COMPLAINTS = (
    complaints.warm_up_unfinished,
    complaints.still_improving,
    complaints.rewound,
    complaints.overfitted,
    complaints.encoder_overfitted,
    complaints.loose_evidence,
    complaints.far_from_prior,
    complaints.unsure_encoder,
)


def diagnose(s: Symptoms, case: Case, *, split: str = "test") -> Diagnosis:
    """Every finding that the symptoms of a model and the case of its fit call for, causes of a collapse first."""
    found = [finding for rule in CAUSES if (finding := rule(s, case)) is not None]
    if ignored(s) and not found:
        found.append(causes.unexplained(s, case))
    found += [finding for rule in COMPLAINTS if (finding := rule(s, case)) is not None]
    kept = ["the fit's other options stay as they were; recipe.toml in the run folder has them."] if found else []
    return Diagnosis(
        split, s.examples, tuple(found), (*notes(s, case), *kept), s.unknown, tuple(measured(s, case)), numbers(s, case)
    )


def notes(s: Symptoms, case: Case) -> list[str]:
    """What looks like an illness and is none."""
    found = []
    if 0 < s.active <= 0.75 * s.latent and not ignored(s):
        found.append(
            f"{s.latent - s.active} of {s.latent} latents are inactive: they were not needed. They cost nothing but "
            f"time; --latent {s.active} would do."
        )
    if s.active == s.latent and s.noise is not None and s.noise.predicted(case.beta) == s.latent:
        more = int((s.noise.eigenvalues > case.beta).sum())
        if more > s.latent:
            found.append(f"every latent is active, and the linear theory has use for {more}: more --latent may help.")
    if s.information.capped:
        found.append(
            f"{s.information.examples} examples can tell {s.information.cap:.2f} nats apart at most, log N: I_q(x; z) "
            f"is too low here and KL(q̄‖p) too high. More examples: --split train."
        )
    if not ignored(s) and knows_x(s):
        found.append(f"the decoder knows {s.use.of_x} nats of x from x itself, and uses z besides.")
    return found


def measured(s: Symptoms, case: Case) -> list[tuple[str, str]]:
    """The numbers, for people."""
    info, use = s.information, s.use
    rows = [
        ("rate", f"{info.rate} nats = I_q(x; z) {info.mutual_information} + KL(q̄‖p) {info.marginal_kl}"),
        ("", f"I_q is at most log N = {info.cap:.2f} nats"),
    ]
    if info.total_correlation is not None:
        rows.append(("KL(q̄‖p)", f"total correlation {info.total_correlation} + unit by unit {info.unit_kl} nats"))
    rows += [
        ("active units", f"{s.active} of {s.latent}"),
        ("use of z", f"{use.of_z} nats: distortion with another example's z, less {use.distortion} with its own"),
        ("use of x", f"{use.of_x} nats: what the decoder knows of a feature from the others, z aside"),
        ("mean of z", f"decoding E[z|x] makes the distortion {use.at_mean} nats lower than it is"),
    ]
    if s.noise is not None:
        law = f"linear theory λ > βσ²: {s.noise.predicted(case.beta)} active units"
        rows.append(("noise σ", f"{s.noise.scale:.3g}; mean squared error/σ² {s.noise.errors:.2g}; {law}"))
    if s.fit is not None:
        rows.append(("held out", f"bound lower by {s.fit.whole} nats = model {s.fit.model} + encoder {s.fit.encoder}"))
        rows.append(("inference", f"log p(x) − ELBO {s.fit.gap} nats on held-out examples"))
    if s.calibration is not None:
        half, most = (100 * float(part.mean()) for part in (s.calibration.half, s.calibration.most))
        rows.append(("coverage", f"{half:.0f} % within 50 % and {most:.0f} % within 90 % intervals of q(z_j|x)"))
    return rows


def numbers(s: Symptoms, case: Case) -> dict[str, object]:
    """The same, for programs."""
    info, use = s.information, s.use
    return {
        "active_units": s.active,
        "latent": s.latent,
        "rate": _pair(info.rate),
        "mutual_information": _pair(info.mutual_information),
        "mutual_information_cap": info.cap,
        "marginal_kl": _pair(info.marginal_kl),
        "marginal_kl_at_least": s.marginal,
        "total_correlation": _pair(info.total_correlation),
        "unit_kl": _pair(info.unit_kl),
        "use_of_z": _pair(use.of_z),
        "use_of_x": _pair(use.of_x),
        "distortion": _pair(use.distortion),
        "distortion_hidden_by_the_mean": _pair(use.at_mean),
        "predicted_active_units": None if s.noise is None else s.noise.predicted(case.beta),
        "noise": None if s.noise is None else {"scale": s.noise.scale, "squared_error_ratio": s.noise.errors},
        "held_out": None
        if s.fit is None
        else {name: _pair(getattr(s.fit, name)) for name in ("whole", "model", "encoder", "gap")},
        "effective_sample_size": None if s.effective is None else s.effective[0],
        "coverage": None
        if s.calibration is None
        else {"50": float(s.calibration.half.mean()), "90": float(s.calibration.most.mean())},
    }


def _pair(number: Number | None) -> dict[str, float | None] | None:
    return None if number is None else {"value": number.value, "standard_error": number.standard_error}
