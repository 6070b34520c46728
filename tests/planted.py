"""Synthetic conversations in which something can be told, or made: rules are planted that no real person follows.

- Whose turn ends with a bright sound passes the floor on, whose ends with a dark one holds it; long turns end with a
  bright one more often.
- An arm strokes after each accent of one's own speech, the head nods after those of the partner's, late enough that
  who hears an accent can know of it beforehand.
"""

import csv
import json
from dataclasses import dataclass, replace

import numpy as np

from seamless_interaction import SAMPLING_RATE, SeamlessDataset
from seamless_interaction.source.layout import tree_path
from seamless_interaction.source.notice import NOTICE
from seamless_interaction.synthetic.corpus import corpus, prompt_id
from seamless_interaction.synthetic.files import notice, tables
from seamless_interaction.synthetic.media import generator, write_wav

FPS = 30
ELBOW, HEAD = 17, 14  # rows of body_pose
VOICE, DARK, MIDDLE, BRIGHT = 150, 450, 1050, 2550  # Hz: multiples, so that pitch and voicing tell nothing


@dataclass(frozen=True)
class Turn:
    """Who speaks from when to when, seconds; when the accents are, and whether the floor is passed on."""

    who: int
    start: float
    end: float
    accents: tuple[float, ...]
    shifts: bool


def plan(number, seconds):
    """The turns of a conversation."""
    rng = generator(0, number, "turns")
    turns, who, start = [], number % 2, 0.3
    while True:
        shifts = bool(rng.random() < 0.5)
        is_long = rng.random() < (0.75 if shifts else 0.25)
        end = start + (rng.uniform(2.4, 3.0) if is_long else rng.uniform(1.3, 1.7))
        if end > seconds - 0.5:
            return turns
        accents = start + np.cumsum(rng.uniform(0.35, 0.7, 9)) - 0.3
        turns.append(Turn(who, round(start, 3), round(end, 3), tuple(accents[accents < end - 0.2]), shifts))
        who, start = who ^ int(shifts), end + rng.uniform(0.4, 0.9)


def sound(turns, who, seconds, rng):
    """(samples,) int16."""
    count = round(seconds * SAMPLING_RATE)
    times = np.arange(count) / SAMPLING_RATE
    made = rng.normal(0, 3, count)
    for turn in turns:
        if turn.who == who:
            first, last = round(turn.start * SAMPLING_RATE), round(turn.end * SAMPLING_RATE)
            at = times[first:last]
            # At each accent it is 1 louder, and falls by e in 0.12 s.
            accents = np.array(turn.accents)
            sums = np.cumsum([0, *np.exp((accents - turn.start) / 0.12)])
            loud = 0.15 + sums[np.searchsorted(accents, at, "right")] * np.exp((turn.start - at) / 0.12)
            tone = np.where(at < turn.end - 0.6, MIDDLE, BRIGHT if turn.shifts else DARK)
            made[first:last] += 3000 * loud * (np.sin(2 * np.pi * VOICE * at) + 0.5 * np.sin(2 * np.pi * tone * at))
    return made.clip(-32000, 32000).astype(np.int16)


def strokes(accents, seconds, delay, width):
    """(T,): a bump for each accent, 1 at ``delay`` after it."""
    times = np.arange(round(seconds * FPS)) / FPS
    return sum((np.exp(-(((times - accent - delay) / width) ** 2)) for accent in accents), np.zeros(len(times)))


def body(turns, who, seconds, rng):
    """Arrays of SMPL-H: a posture of one's own, strokes and nods."""
    frames = round(seconds * FPS)
    own, partners = ([a for turn in turns if turn.who == one for a in turn.accents] for one in (who, 1 - who))
    kinds = generator(0, "postures").normal(0, 0.15, (3, 21, 3))  # of which everybody has a share
    posture = np.tensordot(rng.normal(0, 0.7, 3), kinds, 1) + rng.normal(0, 0.01, (21, 3))
    pose = np.repeat(posture[None], frames, 0)
    pose[:, ELBOW, 1] += 0.8 * strokes(own, seconds, 0.35, 0.12)
    pose[:, HEAD, 0] += 0.3 * strokes(partners, seconds, 0.5, 0.12)
    hands = np.zeros((frames, 15, 3))
    made = {
        "smplh:global_orient": np.repeat(rng.normal(0, 0.02, (1, 3)), frames, 0),
        "smplh:body_pose": pose,
        "smplh:left_hand_pose": hands,
        "smplh:right_hand_pose": hands,
    }
    return {key: values.astype(np.float32) for key, values in made.items()} | {
        "smplh:is_valid": np.ones(frames, bool),
        "boxes_and_keypoints:is_valid_box": np.ones(frames, bool),
    }


def write(root, *, train, test, dev=0, seconds=60.0):
    """A tree of sound, voice activity, words and bodies; two vendors in turn."""
    plain = corpus(1, seconds=seconds)
    recordings = []
    for number in range(train + test + dev):
        vendor = f"V0{1 + number % 2}"
        split = "train" if number < train else "test" if number < train + test else "dev"
        ids = [f"{vendor}_S{number:04d}_I{prompt_id(0)}_P{2 * number + role:04d}" for role in (0, 1)]
        turns = plan(number, seconds)
        for role, (file_id, partner) in enumerate([ids, ids[::-1]]):
            recordings.append(replace(plain.recordings[role], file_id=file_id, partner=partner, split=split))
            rng = generator(0, file_id)

            def place(part, file_id=file_id, split=split):
                path = root / tree_path("improvised", split, part, file_id)
                path.parent.mkdir(parents=True, exist_ok=True)
                return path

            own = [turn for turn in turns if turn.who == role]
            with open(place("audio"), "wb") as file:
                write_wav(file, round(seconds * SAMPLING_RATE), iter([sound(turns, role, seconds, rng)]))
            place("vad").write_text("".join(json.dumps({"start": t.start, "end": t.end}) + "\n" for t in own))
            place("transcript").write_text("".join(json.dumps(_segment(turn)) + "\n" for turn in own))
            for key, values in body(turns, role, seconds, rng).items():
                np.save(place(key), values)
    for name, rows in tables(replace(plain, recordings=recordings)).items():
        with open(root / name, "w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    (root / NOTICE).write_text(notice(plain))
    return SeamlessDataset(root)


def _segment(turn):
    words = [{"word": "da", "start": round(a, 3), "end": round(a + 0.2, 3), "score": 1.0} for a in turn.accents]
    return {"start": turn.start, "end": turn.end, "transcript": " ".join("da" for _ in words), "words": words}
