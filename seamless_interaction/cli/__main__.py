"""``python -m seamless_interaction.cli``."""

from seamless_interaction.cli import app

app()
