"""The loss boundary_ce for hieraseg."""
