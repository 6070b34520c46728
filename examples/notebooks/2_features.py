# ---
# jupyter:
#   jupytext:
#     notebook_metadata_filter: -jupytext.text_representation
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Features of a conversation
#
# What is computed of a conversation, both partners on one grid with a mask for each feature: who speaks, pitch and
# loudness, head motion, turns and backchannels, who answers how soon, and how alike the partners move; then the same of
# many conversations, as Parquet files.
#
# **Needs** `pip install ".[notebooks,features]"`. **Takes** about 15 seconds.
#
# **The data are synthetic**: made by a program, in the format of the real recordings. The voices hum, the bodies follow
# slow waves, and turns are drawn by chance. Nothing here says anything about people.

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq

from seamless_interaction import SeamlessDataset
from seamless_interaction.features import FEATURES, extract_features, make_features, read_features
from seamless_interaction.synthetic.corpus import SyntheticRecording, corpus
from seamless_interaction.synthetic.files import write
from seamless_interaction.synthetic.media import generator

COLORS = ["#0072B2", "#D55E00"]  # of the two partners: told apart by everybody
SECONDS = 45.0  # of a conversation, that are looked at

# %% [markdown]
# ## Some data
#
# One synthetic conversation of 45 seconds. Synthetic partners never overlap; these do, as each turn goes on a little
# longer. With real data, none of this cell is needed: `data = "seamless-interaction-data"`.

# %%
folder = Path(tempfile.mkdtemp())
data = folder / "synthetic"


class Overlapping(SyntheticRecording):
    """Synthetic partners of whom one may begin before the other has ended."""

    def _turns(self) -> list[tuple[float, float]]:
        rng = generator(self.seed, self.file_id, "longer")
        end_of_all = self._seconds() - 0.1
        return [(start, min(round(end + rng.uniform(0, 0.8), 3), end_of_all)) for start, end in super()._turns()]


plain = corpus(interactions=1, seconds=SECONDS)
write(replace(plain, recordings=[Overlapping(**vars(recording)) for recording in plain.recordings]), data)

# %% [markdown]
# ## Features
#
# `extract_features` reads a conversation block by block. Groups that are not asked for are not computed; `FEATURES`
# holds what each feature is, its unit and where its definition comes from.

# %%
dataset = SeamlessDataset(data)
features = extract_features(dataset[0], groups=["prosody", "head", "gesture", "dyadic"], fps=30, duration=SECONDS)
one = next(iter(features))  # the first participant's id
print(features)
for key, values in features[one].items():
    print(f"{key:24} {values.shape!s:12} {features.units[key]:16} known: {features.masks[one][key].mean():.0%}")

# %%
print(FEATURES["head:nod"].definition)

# %% [markdown]
# ## Who speaks
#
# Inter-pausal units are voice activity without pauses below 200 ms; turns are made of them. Backchannels are short
# units in the partner's speech, and take no turn.


# %%
def spans(key: str, participant: str) -> list[tuple[float, float]]:
    """Start and length of a participant's events, seconds."""
    rows = features.events[key].to_pylist()
    return [(row["start"], row["end"] - row["start"]) for row in rows if row["participant_id"] == participant]


figure, axes = plt.subplots(figsize=(11, 2.6), layout="constrained")
for place, (participant, color) in enumerate(zip(features, COLORS, strict=True)):
    axes.broken_barh(spans("dyadic:turns", participant), (place - 0.4, 0.8), color=color, alpha=0.25, label="turn")
    axes.broken_barh(spans("dyadic:ipus", participant), (place - 0.2, 0.4), color=color, label="inter-pausal unit")
    middles = [start + length / 2 for start, length in spans("dyadic:backchannels", participant)]
    axes.plot(middles, [place] * len(middles), "kD", markersize=5, label="backchannel")
axes.set(xlim=(0, SECONDS), ylim=(1.6, -0.6), xlabel="time (s)", yticks=[0, 1], yticklabels=list(features))
handles, labels = axes.get_legend_handles_labels()
axes.legend(handles[:3], labels[:3], loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
plt.show()

# %% [markdown]
# ## Pitch and loudness
#
# Pitch is masked where there is no voice: values there are zero, and no measurement. So look at the mask first. The
# single points off the lines are where a voice begins or ends within the 64 ms that are looked at.


# %%
def known(key: str, participant: str) -> np.ndarray:
    """A feature's first column, NaN where it is masked."""
    return np.where(features.masks[participant][key], features[participant][key][:, 0], np.nan)


figure, axes = plt.subplots(2, 1, figsize=(11, 4.5), sharex=True, layout="constrained")
for participant, color in zip(features, COLORS, strict=True):
    axes[0].plot(features.times, known("prosody:f0", participant), ".", color=color, markersize=3, label=participant)
    axes[1].plot(features.times, known("prosody:rms", participant), color=color, linewidth=1)
axes[0].set(xlim=(0, SECONDS), ylabel="f0 (Hz)")
axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
axes[1].set(ylabel="loudness, rms (dBFS)", xlabel="time (s)")
plt.show()

# %% [markdown]
# ## Heads and hands
#
# Speed of the head, how much it nods (pitch velocity at 1 to 6 Hz), and how much the left hand moves. Where the data
# say that there is no measurement, frames are masked, and hatched here. Synthetic bodies are far faster than people.

# %%
rows = {
    "head:speed": "head speed\n(rad/s)",
    "head:nod": "nods\n((rad/s)²)",
    "gesture:hand_energy": "left hand energy\n((rad/s)²)",
}
hatched = {"step": "mid", "facecolor": "#eeeeee", "edgecolor": "grey", "hatch": "////", "linewidth": 0}
figure, axes = plt.subplots(3, 2, figsize=(11, 6), sharex=True, sharey="row", layout="constrained")
for column, participant, color in zip(axes.T, features, COLORS, strict=True):
    column[0].set_title(participant)
    for axis, key in zip(column, rows, strict=True):
        axis.plot(features.times, known(key, participant), color=color, linewidth=1)
        masked = ~features.masks[participant][key]
        axis.fill_between(features.times, 0, 1, where=masked, transform=axis.get_xaxis_transform(), **hatched)
        axis.set(xlim=(0, SECONDS), ylim=(0, None))
for axis, label in zip(axes[:, 0], rows.values(), strict=True):
    axis.set_ylabel(label)
for axis in axes[-1]:
    axis.set_xlabel("time (s); masked where hatched")
plt.show()

# %% [markdown]
# ## Events
#
# Events are tables, of both participants in the order of time.

# %%
for key in ("turns", "gaps", "overlaps", "interruptions", "backchannels"):
    events = features.events[f"dyadic:{key}"].to_pandas()
    seconds = (events["end"] - events["start"]).mean()
    print(f"{key:14} {len(events):3}", f"   {seconds:.2f} s on average" if len(events) else "")

# %%
features.events["dyadic:turns"].to_pandas().head(6)

# %% [markdown]
# ## Who answers how soon
#
# The floor-transfer offset goes from the end of one turn to the start of the next one: above 0 a gap, below an overlap.

# %%
offsets = features.events["dyadic:transfers"]["offset"].to_numpy()
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.hist(offsets, bins=np.arange(-1.5, 1.51, 0.1), color=COLORS[0], edgecolor="white")
axes.axvline(0, color="black", linewidth=1)
axes.set(xlabel="floor-transfer offset (s)", ylabel="transfers", title=f"{len(offsets)} transfers of one conversation")
axes.yaxis.get_major_locator().set_params(integer=True)
plt.show()

# %% [markdown]
# ## How alike they move
#
# In windows of 10 s, the highest correlation of both partners' head speed over lags up to 2 s. As a maximum of many
# lags is high by chance, each window is compared with windows of the partner at other times: that is the null. These
# bodies were drawn independently, so what lies above the line is chance too, one window in twenty on average.

# %%
synchrony = features.events["dyadic:synchrony"].to_pandas()
synchrony = synchrony[(synchrony["feature"] == "head:speed") & (synchrony["participant_id"] == one)]
figure, axes = plt.subplots(2, 1, figsize=(8, 4.5), sharex=True, layout="constrained")
middle = (synchrony["start"] + synchrony["end"]) / 2
axes[0].plot(middle, synchrony["correlation"], "o", color=COLORS[0], label="window")
axes[0].axhline(synchrony["null_mean"].iloc[0], color="grey", label="null: mean")
axes[0].axhline(synchrony["null_95"].iloc[0], color="grey", linestyle="--", label="null: 95 %")
axes[0].set(ylabel="correlation", ylim=(0, 1))
axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False)
axes[1].plot(middle, synchrony["lag"], "o", color=COLORS[0])
axes[1].axhline(0, color="grey")
axes[1].set(ylabel="lag (s), above 0:\npartner follows", ylim=(-2.2, 2.2), xlabel="middle of the window (s)")
plt.show()

# %% [markdown]
# ## Of many conversations
#
# `make_features`, or `seamless-interaction features`, writes a Parquet file a conversation, and goes on where it was
# stopped. `read_features` gives back what `extract_features` gave; anything that reads Parquet sees a row a recording.

# %%
report = make_features(dataset[:3], folder / "features", groups=["head", "dyadic"], fps=30)
print(report.as_text())
path = next((folder / "features").rglob("*.parquet"))
again = read_features(path)
print(again, again[one]["head:speed"].shape)

# %%
pq.read_table(path, columns=["id", "fps", "head:speed", "dyadic:turns"]).to_pandas()
