"""EEG-like trials: sources with class-dependent power and phase, mixed anew in every session.

A trial is x(t) = A s(t) + noise. The sources s are oscillations with resonances in the bands of
motor imagery (10 and 20 Hz). The mixing matrix A belongs to a subject and a session: between
sessions it is multiplied by a random matrix near the identity, so the covariance C of a trial
becomes W C W^T, a congruence, which is what an affine-invariant centring of each session undoes.
"""

import numpy as np

from zoo.datasets.synthetic._made import Made, at_least, between, settled

_RATE = 128.0  # Hz
_BANDS = (10.0, 20.0)  # Hz
_QUIET = 0.4  # amplitude of the suppressed source
_LINKED = 6  # sources that carry a class: four of power, two of phase
_BITS = 2  # of the fraction of a microvolt: the resolution of the amplifier


def eeg_like(
    *,
    subjects: int = 3,
    sessions: int = 3,
    trials: int = 20,
    channels: int = 8,
    times: int = 128,
    shift: float = 0.5,
    jitter: float = 0.25,
    noise: float = 0.4,
    seed: int = 0,
) -> Made:
    """Trials of four classes, as left and right hand, feet and tongue have them.

    Class k suppresses the oscillation of source k (k = 0..3), as imagining a movement does. A fifth
    and a sixth source share an oscillation, whose phase between them is a quarter period ahead in
    classes 0 and 2 and behind in 1 and 3; a covariance doesn't see it, one of delayed copies does.
    The powers of all sources vary from trial to trial.

    Args:
        subjects: each has mixing and powers of its own.
        sessions: of each subject; each mixes in its own way.
        trials: of each class in each session.
        channels: electrodes, 6 or more.
        times: samples at 128 Hz.
        shift: size of the change between sessions: W = exp(shift G), G (c, c) with independent
            normal entries of variance 1 / c.
        jitter: standard deviation of the logarithm of a source's amplitude between trials.
        noise: standard deviation of each electrode's own noise; sources have 1.
        seed: of everything.

    Returns:
        Arrays `X` (trials, channels, times) in microvolts, `y` (trials,), `subject` and `session`
        (words "1", "2", ...), `domain` (number of the pair of them). The last session is for
        testing.

    Raises:
        ConfigError: for impossible settings.
    """
    for name, value in {"subjects": subjects, "sessions": sessions, "trials": trials}.items():
        at_least(name, value, 1)
    at_least("channels", channels, _LINKED)
    at_least("times", times, 2 * channels)
    for name, size in {"shift": shift, "jitter": jitter, "noise": noise}.items():
        between(name, size, 0.0, 10.0)
    rng = np.random.default_rng(seed)
    signals, labels, who, when = [], [], [], []
    for subject in range(subjects):
        mixing = rng.standard_normal((channels, channels)) / np.sqrt(channels)
        mixing += np.eye(channels)
        loudness = np.exp(0.2 * rng.standard_normal(channels))
        for session in range(sessions):
            change = _exponential(shift * rng.standard_normal((channels, channels)) / channels**0.5)
            classes = rng.permutation(np.repeat(np.arange(4), trials))
            sources = _sources(classes, channels, times, jitter, rng) * loudness[:, None]
            mixed = change @ mixing @ sources
            mixed = mixed + noise * rng.standard_normal(mixed.shape)
            signals.append(mixed)
            labels.append(classes)
            who += [str(subject + 1)] * len(classes)
            when += [str(session + 1)] * len(classes)
    domain = np.repeat(np.arange(subjects * sessions), 4 * trials)
    return Made(
        domain="signal",
        title=f"EEG-like trials: {subjects} subjects, {sessions} sessions, 4 classes",
        arrays={
            "X": settled(4 * np.concatenate(signals), _BITS),
            "y": np.concatenate(labels),
            "subject": np.array(who),
            "session": np.array(when),
            "domain": domain,
        },
        splits={
            "kind": "leave_out",
            "key": "session",
            "fold": sessions - 1,
            "val_fraction": 0.2,
            "stratify": "y",
        }
        if sessions > 1
        else None,
        limits=(
            "simulated: it shows what a geometry is good for, and says nothing of accuracy on EEG",
        ),
    )


def _sources(
    classes: np.ndarray, channels: int, times: int, jitter: float, rng: np.random.Generator
) -> np.ndarray:
    """Sources (trials, channels, times) of unit power, before the class acts on them."""
    count, warm = len(classes), 64
    long = times + warm + 16
    noise = rng.standard_normal((count, channels, long))
    bands = np.array([_BANDS[k % 2] for k in range(channels)])
    waves = _resonance(noise, bands, 0.92)
    # sources 5 and 6 share a wave, a quarter of a period apart, beside parts of their own
    quarter = round(_RATE / _BANDS[0] / 4)
    lead = np.where(classes % 2 == 0, quarter, -quarter)
    shared = _resonance(rng.standard_normal((count, 1, long + 16)), bands[:1], 0.92)[:, 0]
    for trial, late in enumerate(lead.tolist()):
        waves[trial, 4] = 0.8 * shared[trial, 8 : 8 + long] + 0.6 * waves[trial, 4]
        waves[trial, 5] = 0.8 * shared[trial, 8 + late : 8 + late + long] + 0.6 * waves[trial, 5]
    power = np.exp(jitter * rng.standard_normal((count, channels)))
    power[np.arange(count), classes] *= _QUIET
    return np.asarray(waves[:, :, warm : warm + times] * power[:, :, None])


def _resonance(noise: np.ndarray, bands: np.ndarray, radius: float) -> np.ndarray:
    """AR(2) filters along time with poles radius * exp(+-2 pi i f / rate), of unit variance."""
    first = 2 * radius * np.cos(2 * np.pi * bands / _RATE)
    second = -(radius**2)
    # the stationary variance of an AR(2) process driven by unit noise
    ratio = (1 - second) / ((1 + second) * ((1 - second) ** 2 - first**2))
    waves = np.zeros_like(noise)
    for step in range(noise.shape[-1]):
        waves[..., step] = noise[..., step]
        if step > 0:
            waves[..., step] += first * waves[..., step - 1]
        if step > 1:
            waves[..., step] += second * waves[..., step - 2]
    return np.asarray(waves / np.sqrt(ratio)[:, None])


def _exponential(matrix: np.ndarray) -> np.ndarray:
    """exp of a small matrix, by scaling and squaring of its Taylor series."""
    scaled, term = matrix / 16.0, np.eye(len(matrix))
    total = term.copy()
    for order in range(1, 16):
        term = term @ scaled / order
        total += term
    for _ in range(4):
        total = total @ total
    return total
