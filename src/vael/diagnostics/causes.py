"""Why a latent is not used: the causes of posterior collapse, told apart.

A rule is a function of the symptoms and the case, which returns a finding or nothing. Several may hold at once.
"""

from vael.diagnostics.finding import Finding
from vael.diagnostics.symptoms import Case, Symptoms
from vael.diagnostics.units import ACTIVE

IGNORED = 0.05  # nats: what z is worth to a decoder that does not use it
HARDLY = 0.02  # of what the decoder knows of x by itself: what z is worth to one that hardly uses it
KNOWN = 0.1  # nats: what a decoder knows of x by itself before that counts as another way than z
WIDE = 0.25  # mean squared error over σ²: below it σ is more than twice as wide as the errors


def ignored(s: Symptoms) -> bool:
    """Whether the decoder makes nothing of z: another example's z does as well."""
    # Not by its error: where σ is small, a wrong z costs so much for a few examples that the mean alone is noisy.
    return s.active == 0 or s.use.of_z.value <= IGNORED


def knows_x(s: Symptoms) -> bool:
    """Whether the decoder tells real examples from ones put together feature by feature, z aside."""
    return s.use.of_x.exceeds(KNOWN)


def another_fit(s: Symptoms, times: float = 1.0) -> str:
    """What fitting again takes, by how long it took."""
    if s.course.seconds is None:
        return "Another fit."
    return f"Another fit, about {max(1.0, times * s.course.seconds):.0f} s by the last one."


def noise_too_wide(s: Symptoms, case: Case) -> Finding | None:
    """σ² above every eigenvalue of the data, or far above the errors that are made."""
    noise = s.noise
    if noise is None or not (ignored(s) or noise.fixed):
        return None
    hides, wide = noise.predicted() == 0, noise.errors < WIDE
    if not (wide or (hides and ignored(s))):
        return None
    largest = float(noise.eigenvalues[0])
    what = (
        "z is not used (posterior collapse): the decoder's noise is too wide for z to pay for itself."
        if ignored(s)
        else "The decoder's noise is much wider than its errors; z carries less than it could."
    )
    return Finding(
        "noise_too_wide",
        what,
        "A latent is worth its rate while its direction of the data varies by more than the noise, λ > σ². What "
        "varies less is left to the noise.",
        (
            f"σ {noise.scale:.3g} in the model's units, {'fixed' if noise.fixed else 'learned'}",
            f"largest eigenvalue of the data λ/σ² {largest:.3g}; the linear theory predicts {noise.predicted()} of "
            f"{s.latent} active units, {s.active} are",
            f"mean squared error/σ² {noise.errors:.3g}; 1 where the noise is as wide as the errors",
        ),
        (
            f"{case.again} --set likelihood.scale=shared",
            'or in the recipe: [likelihood] scale = "shared" (learned; "optimal" for the closed form)',
        ),
        another_fit(s),
    )


def beta_too_high(s: Symptoms, case: Case) -> Finding | None:
    """β above 1 where the theory says, or nothing else explains, that it switches units off."""
    if case.beta <= 1:
        return None
    law: tuple[str, ...] = ()
    if s.noise is not None:
        full, left = s.noise.predicted(), s.noise.predicted(case.beta)
        if left >= full or not (ignored(s) or s.active < full):
            return None
        law = (f"linear theory λ > βσ²: {left} of {s.latent} active units at β {case.beta:g}, {full} at β 1",)
    elif not ignored(s) or knows_x(s):
        return None
    what = f"β = {case.beta:g} weighs the rate so heavily that " + (
        "z is not used (posterior collapse)." if ignored(s) else "latents are switched off."
    )
    return Finding(
        "beta_too_high",
        what,
        "Weighing the rate by β is the same as widening the noise to βσ² where the decoder is linear: a latent is kept "
        "while λ > βσ².",
        (*law, f"{s.active} of {s.latent} units active", f"rate {s.information.rate} nats"),
        (f"{case.again} --objective elbo", "or in the recipe: [objective] beta = 1"),
        f"{another_fit(s)} At β = 1 the rate rises and the distortion falls; the bound itself can only rise.",
    )


def capacity_too_low(s: Symptoms, case: Case) -> Finding | None:
    """An objective that holds the rate at a value near zero."""
    capacity = case.objective.get("capacity")
    if case.objective.get("kind") != "capacity" or not isinstance(capacity, int | float):
        return None
    if capacity > IGNORED or not ignored(s):
        return None
    return Finding(
        "capacity_too_low",
        f"z is not used (posterior collapse): the objective holds the rate at {capacity:g} nats.",
        "It costs as much to exceed the capacity as to stay below it.",
        (f"rate {s.information.rate} nats",),
        (f"{case.again} --set objective.capacity=10",),
        another_fit(s),
    )


def decoder_needs_no_z(s: Symptoms, case: Case) -> Finding | None:
    """A decoder that looks at x itself, and explains it without z."""
    hardly = s.use.of_z.value <= HARDLY * s.use.of_x.value
    if not knows_x(s) or not (ignored(s) or hardly):
        return None
    used = "not used (posterior collapse)" if ignored(s) else "hardly used"
    return Finding(
        "decoder_needs_no_z",
        f"z is {used}: the decoder looks at x itself and explains it without z.",
        "What the decoder learns of a feature from the others costs no rate; what it learns through z does. A decoder "
        "that can have it for nothing does not pay.",
        (
            f"another example's z costs the decoder {s.use.of_z} nats",
            f"features exchanged between examples cost it {s.use.of_x} nats, z aside; 0 for a decoder that takes them "
            f"to be independent given z",
        ),
        (
            *(() if case.jumps else (f"{case.again} --objective free_bits --set objective.bits=0.1",)),
            "or a decoder that sees less of x: a law whose features are independent given z, or dropout on what it is "
            "shown of x",
        ),
        another_fit(s)
        if case.jumps
        else f"{another_fit(s)} Free bits keep a rate that the bound would rather save: −ELBO may be higher.",
    )


def unexplained(s: Symptoms, case: Case) -> Finding:
    """A collapse none of the known causes explains: training has not found z, or there is nothing to find."""
    no_warm_up = case.objective.get("kind") in ("vimco", "wake_wake")
    evidence = [
        f"{s.active} of {s.latent} units active (variance of the posterior mean above {ACTIVE:g})",
        f"another example's z costs the decoder {s.use.of_z} nats",
    ]
    if s.noise is not None:
        evidence.append(f"the linear theory λ > βσ² predicts {s.noise.predicted(case.beta)} active units")
    return Finding(
        "z_not_found",
        "z is not used (posterior collapse), and none of the known causes is at work.",
        "Either training fell into the state where z is noise and stays there, or the features have nothing in common "
        "for z to hold.",
        tuple(evidence),
        (
            case.longer() if no_warm_up else f"{case.again} --warm-up {max(100, s.course.steps // 3)}",
            "or --set posterior.network.hidden=…, more --epochs; if that changes nothing, the features are independent",
        ),
        another_fit(s),
    )
