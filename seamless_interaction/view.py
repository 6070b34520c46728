"""``import seamless_interaction.view`` registers the view ``with_format("seamless")``, which ``record.view`` is."""

from seamless_interaction.record.view import NAME as NAME
