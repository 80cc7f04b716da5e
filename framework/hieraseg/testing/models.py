"""The contract of models."""

from hieraseg.testing.modules import ModuleContract


class ModelContract(ModuleContract):
    """The contract of models (see `contracts.Model`)."""
