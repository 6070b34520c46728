"""Random access: conversations by id, and windows of them in step, straight from the raw files.

- ``dataset``: ``SeamlessDataset``, the conversations of a place.
- ``interaction``: one conversation, and each participant's recording of it, lazily.
- ``storage``: reading recordings at random, and what is kept of them.
- ``clock``: when each row of an array is, and the grid of a window.
- ``resample``: rows at any position; ``read_window``: a window of one recording.
- ``windows``: windows as a data set: order, epochs, ranks, resuming; ``shuffle``: the order; ``collate``: batches.
- ``quantities``, ``condition``: what is known of each window, and conditions on it.
- ``plot``: a conversation as a picture.

Imports ``opening`` and what lies below it.
"""
