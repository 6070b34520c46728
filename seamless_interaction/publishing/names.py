"""What the files and configs of a publication are called."""

CARD = "README.md"
MANIFEST = "manifest.parquet"  # what all files are: the last one that is written
RECORDINGS = "recordings"  # the config that comes first, and is loaded if nobody names one
SELECTION = "selection"  # the config that has what no subset has
