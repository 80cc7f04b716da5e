"""The type checker of the tests' import hook."""

from beartype import BeartypeConf, beartype

# An int is a float, as for every static checker (PEP 484).
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
