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
# # Look at the data
#
# What a recording holds and how to get at it: records with `load_dataset`, conversations with `SeamlessDataset`, both
# partners in one window, pictures of them, a search for windows, and what is missing.
#
# **Needs** `pip install ".[notebooks]"`. **Takes** about 10 seconds.
#
# **The data are synthetic**: made by a program, in the format of the real recordings. The voices hum, a picture spells
# its own number in blocks, and the bodies follow slow waves. Nothing here says anything about people.

# %%
import tempfile
from pathlib import Path

import datasets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from seamless_interaction import SeamlessDataset, load_dataset
from seamless_interaction.synthetic.writing import synthesize

datasets.disable_progress_bars()
COLORS = ["#0072B2", "#D55E00"]  # of the two partners: told apart by everybody

# %% [markdown]
# ## Some data
#
# Four synthetic conversations of four seconds. With a copy of the real data, made by
# `seamless-interaction download --subset 10GB`, name its folder instead of calling `synthesize`; all else stays.

# %%
folder = Path(tempfile.mkdtemp())
data = folder / "synthetic"  # of the real data: data = Path("seamless-interaction-data")
synthesize(data, interactions=4, seconds=4.0)
sorted(path.name for path in data.iterdir())

# %% [markdown]
# ## Records
#
# `load_dataset` gives a record a recording, one participant of one conversation. Streaming prepares nothing, and opens
# only what you ask for. `data_dir` left out is the dataset's public bucket.

# %%
stream = load_dataset(data_dir=data, split="train", streaming=True, modalities=["transcript", "smplh:body_pose"])
record = next(iter(stream))
print(record["id"], "with", record["partner_id"])
print(record["transcript"])
print(record["smplh"]["body_pose"].shape, record["smplh"]["body_pose"].dtype)

# %% [markdown]
# Without `streaming`, the records are prepared as Arrow files, and open at once the next time: here those of three
# conversations at random. Arrays are nested by group; audio and video are opened when used.

# %%
prepared = load_dataset(data_dir=data, split="train", sample=3, cache_dir=str(folder / "cache"))
record = prepared[0]
print(len(prepared), "recordings of", len(set(prepared["interaction_id"])), "conversations")
print("audio", record["audio"]["array"].shape, "at", record["audio"]["sampling_rate"], "Hz")
print("video", len(record["video"]), "frames", record["video"][0].shape)
print("vad", record["vad"])
for name, values in record["smplh"].items():
    print(f"smplh {name:16}", values.shape)

# %% [markdown]
# What else is loaded is a matter of arguments: a vendor, what observers annotated, one conversation, a size, and more.

# %%
selected = load_dataset(
    data_dir=data, split="train", vendor="V03", annotated="3P", streaming=True, modalities=["annotations"]
)
for record in selected:
    first = record["annotations"][0]
    print(record["id"], len(record["annotations"]), "annotations;", first["kind"], first["annotation"])

# %% [markdown]
# ## Conversations
#
# `SeamlessDataset` opens the same data by conversation. Nothing is read before you ask for it.

# %%
dataset = SeamlessDataset(data)
dataset.interactions.to_pandas()[["interaction_id", "label", "split", "participant_ids"]]

# %%
interaction = dataset[0]
print(interaction)
for recording in interaction:
    header = recording.header
    print(f"{recording.participant_id}: {recording.duration:.2f} s, {recording.fps:g} frames a second", end="")
    print(f", {header.width} × {header.height} pixels" if header else ", no video")
    print("   says:  ", (recording.transcript or "nothing")[:90])
    print("   speaks:", [(span["start"], span["end"]) for span in recording.vad or ()])
    print("   issues:", [f"{issue['column']}: {issue['code']}" for issue in recording.issues])

# %% [markdown]
# ## Both partners in one window
#
# A window is a span of time with everything on one grid, whatever each recording's own rate is. A mask says where a
# value is a measurement; elsewhere it is zero, and below it is left out.

# %%
window = interaction.window(0.0, 4.0, modalities=["audio", "vad", "smplh"], fps=30)
HEAD = 14  # of the 21 joints of smplh:body_pose
seconds = np.arange(120) / 30
figure, axes = plt.subplots(4, 1, figsize=(10, 6.5), sharex=True, layout="constrained", height_ratios=[1, 1, 2, 2])
for (participant, sample), color, sound in zip(window.items(), COLORS, axes[:2], strict=True):
    sound.plot(np.arange(len(sample["audio"])) / 48_000, sample["audio"], color=color, linewidth=0.3)
    spoken = {"step": "post", "color": "grey", "alpha": 0.25, "linewidth": 0, "label": "voice activity"}
    sound.fill_between(seconds, -1, 1, where=sample["vad"], **spoken)
    sound.set(xlim=(0, 4), ylim=(-1, 1), ylabel="sound\n(full scale is 1)", title=participant)
    head = np.degrees(sample["smplh:body_pose"][:, HEAD, 0])
    axes[2].plot(seconds, np.where(sample["mask"]["smplh:body_pose"], head, np.nan), color=color, label=participant)
    hand = np.degrees(np.linalg.norm(sample["smplh:left_hand_pose"], axis=-1).mean(-1))
    axes[3].plot(seconds, np.where(sample["mask"]["smplh:left_hand_pose"], hand, np.nan), color=color)
axes[0].legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
axes[2].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
axes[2].set(ylabel="head, first number\nof the rotation (°)")
axes[3].set(ylabel="left hand, mean\nangle of joints (°)", xlabel="time (s)")
plt.show()

# %% [markdown]
# ## Pictures
#
# `video.at(seconds)` is the frame that is shown then. The synthetic pictures are blocks that spell the frame's number.

# %%
figure, axes = plt.subplots(1, 2, figsize=(6, 5), layout="constrained")
for recording, axis in zip(interaction, axes, strict=True):
    axis.imshow(recording.video.at(2.5))
    axis.set_title(f"{recording.participant_id} at 2.5 s")
    axis.set_axis_off()
plt.show()

# %% [markdown]
# `interaction.plot()` draws all of it: stills, words, voices, annotations, motion. `path="conversation.png"` saves it.

# %%
interaction.plot(start=0.0, duration=4.0)

# %% [markdown]
# ## A search for windows
#
# `dataset.windows` is what models are trained on: every window of the dataset, of which `where` keeps those that you
# want. Here: somebody speaks for a third of the time at least, and the hands are nearly always valid. With `paired`, it
# must be true of both partners.

# %%
what = {"duration": 2.0, "hop": 0.5, "modalities": ["audio", "smplh"], "fps": 30, "paired": True}
every = dataset.windows(**what)
windows = dataset.windows(**what, where="speech + partner_speech > 0.33 and smplh_valid > 0.9")
print(len(windows), "of", len(every), "windows")
sample = windows[0]
print(sample["id"], "from", sample["start"], "s")
print("audio", sample["audio"].shape, " body", sample["smplh:body_pose"].shape)

# %% [markdown]
# ## What is missing
#
# Not every recording has everything: only vendor V00 has face motion, and few are annotated. What a recording does not
# have is None, in a window zero with a mask that is False, and `issues` says why.

# %%
recordings = [recording for interaction in dataset[:4] for recording in interaction]
rows = [{"recording": recording.id, **issue} for recording in recordings for issue in recording.issues]
issues = pd.DataFrame(rows, columns=["recording", "column", "code", "detail"])
issues["modality"] = issues["column"].str.partition(":")[0]
issues.groupby(["modality", "code"]).agg(recordings=("recording", "nunique"), example=("detail", "first"))

# %%
names = ["audio", "video", "transcript", "vad", "annotations", "smplh", "boxes_and_keypoints", "movement"]
codes = {(row.recording, row.modality): row.code for row in issues.itertuples()}
grid = [[codes.get((recording.id, name), "") for name in names] for recording in recordings]
figure, axes = plt.subplots(figsize=(9, 0.35 * len(recordings) + 1.7), layout="constrained")
axes.pcolormesh(np.array(grid) == "", cmap="Blues", vmin=-0.3, vmax=1.6, edgecolor="white", linewidth=2)
for (row, column), code in np.ndenumerate(grid):
    axes.text(column + 0.5, row + 0.5, code, ha="center", va="center", fontsize=9)
axes.set_xticks(np.arange(len(names)) + 0.5, names, rotation=30, ha="right")
axes.set_yticks(np.arange(len(recordings)) + 0.5, [recording.id for recording in recordings])
axes.invert_yaxis()
axes.set_title("What each recording has, and where it has an issue")
plt.show()

# %% [markdown]
# From here: `2_features.py`, what is computed of a conversation, or `3_train_and_generate.py`, a model of windows.
